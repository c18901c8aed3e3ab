"""The first reading of a data set: which pictures there are, their classes and splits, and the size that all get.

What it finds decides every picture's `index`, so that the pictures themselves can then be read in parts, anywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orfila_engine.data.archives import DataError
from orfila_engine.data.images import GREY_MODES, read_header
from orfila_engine.data.sources import CLASS_LIST, Source, Split, Unused

TEST_SHARE = 0.1
OnBroken = Literal["refuse", "skip"]
_ROWS, _ABOUT = "rows.parquet", "survey.json"


@dataclass
class Row:
    """What the first reading knows of a picture."""

    name: str
    class_name: str
    split: Split | None
    size: tuple[int, int]
    """Height and width by its header."""
    grey: bool
    broken: bool = False
    """Its header cannot be read. It keeps its row, so that the second reading stays in step."""


@dataclass(frozen=True)
class Survey:
    """A data set as the first reading found it. `rows` are in the order of reading."""

    rows: list[Row]
    classes: tuple[str, ...]
    """Names in label order."""
    split: Literal["given", "seeded"]
    shape: tuple[int, int, int]
    """Height, width and channels of every picture of the pack."""
    chosen_size: tuple[int, int] | None
    """Height and width that somebody asked for."""
    skipped: list[dict[str, str]]
    """name and reason of what is left out."""

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """[N] the row of each `index`: training pictures come first, each split in the order of reading."""
        test = np.array([row.split != "train" for row in self.rows])
        return np.argsort(test, kind="stable")

    @property
    def n_train(self) -> int:
        """Number of training pictures, broken ones included."""
        return sum(row.split == "train" for row in self.rows)

    def save(self, folder: Path) -> None:
        """Write rows.parquet and survey.json."""
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            "name": pa.array([r.name for r in self.rows], pa.string()),
            "class_name": pa.array([r.class_name for r in self.rows], pa.string()),
            "split": pa.array([r.split for r in self.rows], pa.string()),
            "height": pa.array([r.size[0] for r in self.rows], pa.int32()),
            "width": pa.array([r.size[1] for r in self.rows], pa.int32()),
            "grey": pa.array([r.grey for r in self.rows], pa.bool_()),
            "broken": pa.array([r.broken for r in self.rows], pa.bool_()),
        }
        pq.write_table(pa.table(columns), folder / _ROWS, compression="zstd")
        about = {name: getattr(self, name) for name in ("classes", "split", "shape", "chosen_size", "skipped")}
        (folder / _ABOUT).write_text(json.dumps(about))

    @classmethod
    def open(cls, folder: Path) -> Survey:
        """Read what `save` wrote."""
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text())
        rows = [
            Row(r["name"], r["class_name"], r["split"], (r["height"], r["width"]), r["grey"], r["broken"])
            for r in pq.read_table(folder / _ROWS).to_pylist()
        ]
        size = about["chosen_size"]
        return cls(
            rows,
            tuple(about["classes"]),
            about["split"],
            tuple(about["shape"]),
            None if size is None else tuple(size),
            about["skipped"],
        )


def survey(
    source: Source,
    *,
    on_broken: OnBroken = "refuse",
    size: tuple[int, int] | None = None,
    seed: int = 0,
    class_names: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Read names, classes, and sizes from the headers of the files; see `pack`, which takes the same settings.

    progress: called with the number of files seen; how many there are is not known yet. May raise to cancel.
    Raises DataError for a source that cannot be used.
    """
    rows, skipped = _read(source, on_broken, progress or (lambda _seen: None))
    classes = _classes(source, rows, class_names)
    given = _assign_splits(rows, classes, seed)
    height, width = size or Counter(r.size for r in rows).most_common(1)[0][0]
    channels = 1 if all(r.grey for r in rows) else 3
    return Survey(rows, classes, given, (height, width, channels), size, skipped)


def _read(
    source: Source, on_broken: OnBroken, progress: Callable[[int], None]
) -> tuple[list[Row], list[dict[str, str]]]:
    rows: list[Row] = []
    skipped: list[dict[str, str]] = []
    for number, item in enumerate(source.read()):
        if number % 256 == 0:
            progress(number)
        if isinstance(item, Unused):
            skipped.append({"name": item.name, "reason": item.reason})
            continue
        if isinstance(item.data, bytes):
            try:
                header = read_header(item.data, item.name)
            except DataError as error:
                if on_broken == "refuse":
                    raise DataError(f"{error}; remove or replace it, or choose to skip broken pictures") from error
                # A row is kept so that the second pass stays in step; it is dropped there.
                rows.append(Row(item.name, item.class_name, item.split, (0, 0), grey=True, broken=True))
                skipped.append({"name": item.name, "reason": str(error)})
                continue
            size, grey = (header.height, header.width), header.mode in GREY_MODES
        else:
            size, grey = (item.data.shape[0], item.data.shape[1]), item.data.shape[2] == 1
        rows.append(Row(item.name, item.class_name, item.split, size, grey))
    sound = [r for r in rows if not r.broken]
    if not sound:
        raise DataError("the data set holds no pictures; pack folders of pictures, one folder for each class")
    modal = Counter(r.size for r in sound).most_common(1)[0][0]
    for row in rows:
        if row.broken:
            row.size = modal
    return rows, skipped


def _classes(source: Source, rows: list[Row], class_names: Mapping[str, str] | None) -> tuple[str, ...]:
    """Names in label order, given to the rows as well."""
    found = {r.class_name for r in rows if not r.broken}
    ordered = list(source.classes or sorted(found))
    if source.class_list is not None:
        missing = sorted(found - set(source.class_list))
        if missing:
            raise DataError(
                f"the folder {missing[0]!r} is not in {CLASS_LIST}; add it there, or leave its pictures out"
            )
        ordered = list(source.class_list)
    names = dict(source.class_list or {}) | dict(class_names or {})
    unknown = sorted(set(names) - set(ordered))
    if unknown:
        known = ", ".join(ordered[:20]) + (", ..." if len(ordered) > 20 else "")
        raise DataError(f"a name is given for the class {unknown[0]!r}, which is none of: {known}")
    for row in rows:
        row.class_name = names.get(row.class_name, row.class_name)
    left = {names.get(name, name) for name in found}
    if len(left) < 2:
        raise DataError(
            f"all pictures belong to one class, '{next(iter(left))}'; a classifier needs two or more class folders"
        )
    return tuple(dict.fromkeys(names.get(name, name) for name in ordered))


def _assign_splits(rows: list[Row], classes: Sequence[str], seed: int) -> Literal["given", "seeded"]:
    """Give every row a split; says whether the source had one."""
    splits = {r.split for r in rows}
    if "test" in splits and (None in splits or "train" in splits):
        for row in rows:
            row.split = row.split or "train"
    else:
        by_class: dict[str, list[Row]] = {c: [] for c in classes}
        for row in rows:
            row.split = "train"
            by_class.setdefault(row.class_name, []).append(row)  # a class may hold broken pictures only
        rng = np.random.default_rng(seed)
        for members in by_class.values():
            if len(members) > 1:
                count = max(1, round(TEST_SHARE * len(members)))
                for i in rng.permutation(len(members))[:count]:
                    members[i].split = "test"
        return "seeded"
    if not any(r.split == "train" for r in rows):
        raise DataError("the data set has a test folder but no training pictures; add a train folder")
    return "given"
