"""What users bring, as one stream of labelled pictures: class folders, IDX, NPZ, CIFAR binary, Parquet.

A source knows its classes and which pictures are for testing, and yields the pictures either as encoded files or as
pixels. `open_source` chooses by looking at the files, never at a client's claim.
"""

from __future__ import annotations

import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orfila_engine.data.archives import DataError, read_entries
from orfila_engine.data.binary import LabelKind, read_binary
from orfila_engine.data.images import SUFFIXES

Split = Literal["train", "test"]
_TRAIN = {"train", "training"}
_TEST = {"test", "testing", "val", "valid", "validation"}
_PARQUET_BATCH = 512


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

    @abstractmethod
    def read(self) -> Iterator[Picture | Unused]:
        """Every file, in a fixed order."""


class ClassFolders(Source):
    """A directory, zip or tar of `…/[train|test]/CLASS/picture`, at any depth."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[Picture | Unused]:
        """Pictures by their folder; other files are named as unused."""
        for entry in read_entries(self._path):
            *folders, file = entry.name.split("/")
            if file.startswith(".") or "__MACOSX" in folders:
                continue
            if not file.lower().endswith(SUFFIXES):
                yield Unused(entry.name, "not a PNG, JPEG, WebP, BMP or GIF picture")
                continue
            if not folders:
                raise DataError(
                    f"{file!r} lies outside any class folder; put the pictures of each class into a folder "
                    "named like the class"
                )
            split: Split | None = None
            for folder in folders[:-1]:
                if folder.lower() in _TRAIN:
                    split = "train"
                elif folder.lower() in _TEST:
                    split = "test"
            yield Picture(entry.name, folders[-1], split, entry.data)


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


class Parquet(Source):
    """Hugging Face image columns: a struct `image` {bytes, path} (or binary) and a whole-number or text `label`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[Picture | Unused]:
        """Rows in order, a few hundred in memory at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self._path)
            columns = set(file.schema_arrow.names)
            image = next((c for c in ("image", "img") if c in columns), None)
            label = next((c for c in ("label", "fine_label", "labels") if c in columns), None)
            if image is None or label is None:
                raise DataError(f"{self._path.name} needs the columns 'image' and 'label'; it has {sorted(columns)}")
            number = 0
            for batch in file.iter_batches(_PARQUET_BATCH, columns=[image, label]):
                for row in batch.to_pylist():
                    cell = row[image]
                    data = cell["bytes"] if isinstance(cell, dict) else cell
                    if not isinstance(data, bytes) or row[label] is None:
                        raise DataError(f"row {number} of {self._path.name} has no picture or no label; drop it")
                    value = row[label]
                    yield Picture(f"{number:07d}", f"{value:04d}" if isinstance(value, int) else str(value), None, data)
                    number += 1
        except pa.ArrowException as error:
            raise DataError(f"{self._path.name} is not a readable Parquet file ({error})") from error


def open_source(path: Path, labels: LabelKind | None = None) -> Source:
    """The source at a path, chosen by its content.

    labels: which labels of CIFAR-100; the fine ones by default.
    Raises DataError when nothing fits, naming the formats that do, or when the choice of labels fits nothing.
    """
    binary = read_binary(path, labels or "fine")
    if binary is not None:
        return Arrays(*binary)
    if labels is not None:
        raise DataError("only CIFAR-100 has fine and coarse labels; leave out the choice")
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"PAR1":
            return Parquet(path)
        if path.suffix == ".npz" or (start == b"PK\x03\x04" and _holds_arrays(path)):
            return _npz(path)
    return ClassFolders(path)


def _holds_arrays(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(n.endswith(".npy") for n in names)


def _npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = set(file.files)
            if {"x_train", "y_train", "x_test", "y_test"} <= keys:
                images = np.concatenate([file["x_train"], file["x_test"]])
                labels = np.concatenate([file["y_train"].ravel(), file["y_test"].ravel()])
                n_train = len(file["x_train"])
            elif {"images", "labels"} <= keys:
                images, labels = file["images"], file["labels"].ravel()
                n_train = int(file["n_train"]) if "n_train" in keys else len(images)
            else:
                raise DataError(
                    f"{path.name} needs x_train, y_train, x_test, y_test (or images, labels); it has {sorted(keys)}"
                )
            classes = [str(c) for c in file["classes"]] if "classes" in keys else None
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path.name} cannot be read as NPZ without pickle ({error}); save plain number arrays"
        ) from error
    if images.dtype != np.uint8:
        raise DataError(f"the images in {path.name} are {images.dtype}; save them as uint8 in 0..255")
    with np.errstate(invalid="ignore"):  # NaN becomes some number, which differs from it below
        whole = labels.astype(np.int64) if labels.dtype.kind in "iuf" else None
    if whole is None or not np.array_equal(whole, labels) or (len(whole) and whole.min() < 0):
        raise DataError(f"the labels in {path.name} must be whole numbers from 0 on, one for each image")
    if classes is None:
        # Without names the classes are the labels that occur.
        present, whole = np.unique(whole, return_inverse=True)
        classes = [str(label) for label in present]
    return Arrays(images, whole, n_train, tuple(classes))
