"""Parquet files with an image column, as Hugging Face writes them: one file, or several in a folder, zip or tar.

Each file's split is told by its name or folder (`train-00000-of-00002.parquet`, `test/part.parquet`); class names come
from the features that the `datasets` library leaves in the schema, else they are the labels themselves.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orfila_engine.data.archives import MAX_ENTRIES, MAX_ENTRY_BYTES, MAX_RATIO, DataError, copy_entries
from orfila_engine.data.sources import CHANGED, Picture, Source, Split, Unused, split_of

SUFFIX = ".parquet"
MAGIC = b"PAR1"
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels")
_BATCH = 256
_MAX_FILE_BYTES = 16 * 2**30
_RATIO_FLOOR = 2**20


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    split: Split | None


class Parquet(Source):
    """A struct `image` {bytes, path} (or binary) and a whole-number or text `label` in every file."""

    def __init__(self, path: Path) -> None:
        """path: a Parquet file, or a folder, zip or tar of such files."""
        self._path = path

    def read(self) -> Iterator[Picture | Unused]:
        """Rows in order of the files' names, a few hundred in memory at a time.

        Raises DataError for files that lack a column, disagree about class names, or hold far more than their size.
        """
        with _files(self._path) as files:
            if not files:
                raise DataError(f"{self._path.name} holds no Parquet file")
            budget = max(_RATIO_FLOOR, sum(file.path.stat().st_size for file in files)) * MAX_RATIO
            names: tuple[str, ...] | None = None
            for number, file in enumerate(files):
                with _opened(file) as opened:
                    given = _class_names(opened.schema_arrow, _label_column(file, opened))
                    if number and given != names:
                        raise DataError(f"{file.name} names other classes than {files[0].name}; make them equal")
                    names = given
                    self.classes = names
                    prefix = f"{number:04d}-" if len(files) > 1 else ""
                    for _, picture in _rows(file, opened, names, prefix):
                        assert isinstance(picture.data, bytes)
                        budget -= len(picture.data)
                        if budget < 0:
                            raise DataError(
                                f"{self._path.name} holds far more than its own size, as a decompression bomb does; "
                                "refused"
                            )
                        yield picture

    def read_only(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Picture]]:
        """See `Source`; groups of rows without a wanted one are not read."""
        first = 0
        with _files(self._path) as files:
            for number, file in enumerate(files):
                with _opened(file) as opened:
                    names = _class_names(opened.schema_arrow, _label_column(file, opened))
                    prefix = f"{number:04d}-" if len(files) > 1 else ""
                    n = opened.metadata.num_rows
                    if first + n > len(wanted):
                        raise DataError(CHANGED)
                    for row, picture in _rows(file, opened, names, prefix, wanted[first : first + n]):
                        yield first + row, picture
                    first += n


def _rows(
    file: _File,
    opened: pq.ParquetFile,
    names: tuple[str, ...] | None,
    prefix: str,
    wanted: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[int, Picture]]:
    """The rows of a file, or the wanted ones, with their numbers."""
    image, label = _image_column(file, opened), _label_column(file, opened)
    if opened.metadata.num_rows > MAX_ENTRIES:
        raise DataError(f"{file.name} has {opened.metadata.num_rows:,} rows; at most {MAX_ENTRIES:,} are accepted")
    for number, row in _numbered(opened, [image, label], wanted):
        cell = row[image]
        data = cell["bytes"] if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or row[label] is None:
            raise DataError(f"row {number} of {file.name} has no picture or no label; drop it")
        if len(data) > MAX_ENTRY_BYTES:
            raise DataError(f"the picture in row {number} of {file.name} is larger than {MAX_ENTRY_BYTES >> 20} MiB")
        name = _class_of(row[label], names, f"row {number} of {file.name}")
        yield number, Picture(f"{prefix}{number:07d}", name, file.split, data)


def _numbered(
    opened: pq.ParquetFile, columns: list[str], wanted: NDArray[np.bool_] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    first = 0
    for group in range(opened.num_row_groups):
        n = opened.metadata.row_group(group).num_rows
        if wanted is None or wanted[first : first + n].any():
            number = first
            for batch in opened.iter_batches(_BATCH, row_groups=[group], columns=columns):
                for row in batch.to_pylist():
                    if wanted is None or wanted[number]:
                        yield number, row
                    number += 1
        first += n


@contextmanager
def _files(path: Path) -> Iterator[list[_File]]:
    """The Parquet files at a path, by name. Those of an archive are copied to a scratch folder under our own names."""
    if path.is_dir():
        found = sorted(path.rglob(f"*{SUFFIX}"))
        yield [
            _File(file, file.relative_to(path).as_posix(), _split(file.relative_to(path).as_posix())) for file in found
        ]
        return
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start == MAGIC:
        yield [_File(path, path.name, None)]
        return
    with tempfile.TemporaryDirectory(prefix="orfila-parquet-") as scratch:
        copies = copy_entries(path, Path(scratch), SUFFIX, max_entry_bytes=_MAX_FILE_BYTES)
        files = [_File(copy, name, _split(name)) for name, copy in copies]
        yield sorted(files, key=lambda file: file.name)


@contextmanager
def _opened(file: _File) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file.path) as opened:
            yield opened
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name} is not a readable Parquet file ({error})") from error


def _split(name: str) -> Split | None:
    """From folders (`test/0.parquet`) or the beginning of the file's name (`test-00000-of-00001.parquet`)."""
    *folders, file = PurePosixPath(name).parts
    return split_of([*folders, re.split(r"[-_.]", file)[0]])


def _image_column(file: _File, opened: pq.ParquetFile) -> str:
    return _column(file, opened, IMAGE_COLUMNS)


def _label_column(file: _File, opened: pq.ParquetFile) -> str:
    return _column(file, opened, LABEL_COLUMNS)


def _column(file: _File, opened: pq.ParquetFile, names: tuple[str, ...]) -> str:
    columns = opened.schema_arrow.names
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise DataError(f"{file.name} needs the columns 'image' and 'label'; it has {sorted(columns)}")
    return found


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Names of a ClassLabel feature, from the metadata of the `datasets` library; None without them."""
    try:
        told: Any = json.loads((schema.metadata or {})[b"huggingface"])
        names = told["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        return None
    return tuple(names) if len(set(names)) == len(names) else None


def _class_of(value: object, names: tuple[str, ...] | None, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if names is None:
            return f"{value:04d}"
        if not 0 <= value < len(names):
            raise DataError(f"{where} has the label {value}; the file names {len(names)} classes, from 0 on")
        return names[value]
    if names is not None and str(value) not in names:
        raise DataError(
            f"{where} has the label {str(value)[:40]!r}, which is not one of the classes that the file names"
        )
    return str(value)
