"""What the commands share: progress bars, opening of data sets and models, lists of images."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset, resolve
from orfila_engine.data.images import SUFFIXES
from orfila_engine.fingerprint import FingerprintIndex, build_index, model_digest
from orfila_engine.investigation import Affected, affected_from_test, read_affected
from orfila_engine.progress import Progress

_TEST_PREFIX = "test:"


class Numbers(StrEnum):
    """Precision of a training's products, see `orfila_engine.devices.Precision`."""

    auto = "auto"
    full = "full"
    bfloat16 = "bfloat16"


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress that draws a bar on standard error while it is a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("starting", total=1.0)
        yield lambda doing, share: bars.update(task, description=doing, completed=share)


def open_data(path: Path) -> PackedDataset:
    """A pack, or any other data set, packed once into the user's cache folder ($XDG_CACHE_HOME/orfila)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orfila" / "packs"
    cache.mkdir(parents=True, exist_ok=True)
    return resolve(path, cache)


def open_affected(sources: list[str], card: ModelCard, packed: PackedDataset) -> list[Affected]:
    """Affected images from picture files, or `test:INDEX` for test images of the data set."""
    affected = []
    for source in sources:
        if source.startswith(_TEST_PREFIX):
            number = source.removeprefix(_TEST_PREFIX)
            if not number.isdigit():
                raise ValueError(f"'{source}' names no test image; write test: and the image's index, as in test:10042")
            affected.append(affected_from_test(packed, int(number)))
            continue
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"{source} does not exist; give a picture ({', '.join(SUFFIXES)}) or test:INDEX")
        affected.append(read_affected(path.read_bytes(), path.name, card))
    return affected


def read_indices(path: Path, packed: PackedDataset) -> list[int]:
    """Training images from a CSV file with the columns `path` and `index`, as `investigate` writes it.

    Raises ValueError when the file is of another data set: each path must be that of its index.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give the flagged.csv of an investigation")
    indices = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not row.get("index", "").isdigit() or "path" not in row:
                raise ValueError(f"{path} needs the columns 'path' and 'index', as in the flagged.csv of investigate")
            index = int(row["index"])
            if index >= packed.n_train or packed.names[index] != row["path"]:
                raise ValueError(
                    f"{path} names {row['path']!r} as training image {index}, which the data set does not; "
                    "use the list together with the data set that it was made from"
                )
            indices.append(index)
    if not indices:
        raise ValueError(f"{path} lists no images; there is nothing to leave out")
    return indices


def kept_index(
    path: Path, model: nn.Module, card: ModelCard, packed: PackedDataset, *, device: str, progress: Progress
) -> FingerprintIndex:
    """The index of an earlier run at `path` if it is of the same model and data, else a new one."""
    try:
        index = FingerprintIndex.open(path, device)
    except ValueError:
        index = None
    if index is not None and (index.meta["model"], index.meta["data"]) == (model_digest(model, card), packed.digest):
        return index
    return build_index(model, card, *packed.train, path, device=device, data_digest=packed.digest, progress=progress)
