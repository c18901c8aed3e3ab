"""What users bring, as one stream of labelled pictures: class folders, and arrays (IDX, NPZ, CIFAR binary).

A source knows its classes and which pictures are for testing, and yields the pictures either as encoded files or as
pixels. `formats.open_source` chooses one; Parquet has a module of its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orfila_engine.data.archives import MAX_DEPTH, DataError, read_entries
from orfila_engine.data.images import SUFFIXES

Split = Literal["train", "test"]
_TRAIN = {"train", "training"}
_TEST = {"test", "testing", "val", "valid", "validation"}
CLASS_LIST = "classes.txt"
"""A file in the folder that holds the classes' folders: one folder a line, in label order, and after a tab its name."""
CHANGED = "the data set changed while it was read; try again"
_MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Picture:
    """One labelled picture: `data` is an encoded file, or uint8 pixels [H, W, C]."""

    name: str
    class_name: str
    split: Split | None
    data: bytes | NDArray[np.uint8]


@dataclass(frozen=True)
class Unused:
    """A file that is no picture, and why it is left out."""

    name: str
    reason: str


class Source(ABC):
    """Labelled pictures that can be read more than once."""

    classes: tuple[str, ...] | None = None
    """Names in label order where the format gives them, else None: the sorted folder names."""
    class_list: Mapping[str, str] | None = None
    """Folder -> name, in label order, where the data set lists its classes; known when all has been read."""

    @abstractmethod
    def read(self) -> Iterator[Picture | Unused]:
        """Every file, in a fixed order."""

    def read_only(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Picture]]:
        """The wanted pictures, each with its number among all pictures in the order of `read`.

        wanted: [N] of all pictures. Others need not be read.
        """
        pictures = (item for item in self.read() if isinstance(item, Picture))
        yield from ((number, item) for number, item in enumerate(pictures) if number >= len(wanted) or wanted[number])


class ClassFolders(Source):
    """A directory, zip or tar of `…/[train|test]/CLASS/picture`, at any depth."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[Picture | Unused]:
        """Pictures by their folder; other files are named as unused. The outermost CLASS_LIST becomes `class_list`."""
        depth = MAX_DEPTH + 1
        for entry in read_entries(self._path):
            *folders, file = entry.name.split("/")
            if _is_hidden(folders, file):
                continue
            if file == CLASS_LIST:
                if len(folders) < depth:
                    depth, self.class_list = len(folders), read_class_list(entry.data)
                continue
            if not _is_picture(folders, file):
                yield Unused(entry.name, "not a PNG, JPEG, WebP, BMP or GIF picture")
                continue
            if not folders:
                raise DataError(
                    f"{file!r} lies outside any class folder; put the pictures of each class into a folder "
                    "named like the class"
                )
            yield Picture(entry.name, folders[-1], split_of(folders[:-1]), entry.data)

    def read_only(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Picture]]:
        """See `Source`; the other files are passed over."""
        number = -1

        def is_wanted(name: str) -> bool:
            nonlocal number
            *folders, file = name.split("/")
            if not _is_picture(folders, file):
                return False
            number += 1
            return number >= len(wanted) or bool(wanted[number])

        for entry in read_entries(self._path, is_wanted=is_wanted):
            folders = entry.name.split("/")[:-1]
            yield number, Picture(entry.name, folders[-1], split_of(folders[:-1]), entry.data)


def _is_hidden(folders: Sequence[str], file: str) -> bool:
    return file.startswith(".") or "__MACOSX" in folders


def _is_picture(folders: Sequence[str], file: str) -> bool:
    return not _is_hidden(folders, file) and file.lower().endswith(SUFFIXES)


def split_of(folders: Sequence[str]) -> Split | None:
    """What folders say about the split of what is in them; the innermost one that says something counts."""
    for folder in reversed(folders):
        if folder.lower() in _TRAIN:
            return "train"
        if folder.lower() in _TEST:
            return "test"
    return None


def read_class_list(text: bytes, file_name: str = CLASS_LIST) -> dict[str, str]:
    """Folder -> name, in label order: a line each, `folder` or `folder TAB name`.

    Raises DataError when a folder stands there twice, or there are fewer than one or too many.
    """
    names: dict[str, str] = {}
    for line in text.decode("utf-8-sig", "replace").splitlines():
        folder, _, name = line.strip().partition("\t")
        if not folder:
            continue
        if folder in names:
            raise DataError(f"{file_name} lists {folder[:80]!r} twice")
        names[folder] = name.strip() or folder
    if not 1 <= len(names) <= _MAX_CLASSES:
        raise DataError(f"{file_name} lists {len(names):,} classes; 1 to {_MAX_CLASSES:,} are accepted")
    return names


@dataclass
class Arrays(Source):
    """Pictures already in memory: images uint8 [N, H, W] or [N, H, W, C], labels [N], and how many are for training."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    n_train: int
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self.classes = self.names
        if self.images.ndim == 3:
            self.images = self.images[..., None]
        if self.images.ndim != 4 or self.images.shape[3] not in (1, 3):
            raise DataError(f"images have the shape {self.images.shape}; [N, H, W] or [N, H, W, 1 or 3] is needed")
        if len(self.labels) != len(self.images):
            raise DataError(f"there are {len(self.images)} images but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.names):
            raise DataError(
                f"labels must lie in 0..{len(self.names) - 1}; found {self.labels.min()}..{self.labels.max()}"
            )

    def read(self) -> Iterator[Picture | Unused]:
        """Pictures named by split, class and number."""
        digits = max(5, int(math.log10(max(len(self.images), 1))) + 1)
        split: Split
        for i, (image, label) in enumerate(zip(self.images, self.labels, strict=True)):
            split = "train" if i < self.n_train else "test"
            name = self.names[int(label)]
            yield Picture(f"{split}/{name}/{i:0{digits}d}", name, split, image)
