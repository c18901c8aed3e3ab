"""CIFAR binary files and IDX files (MNIST, Fashion-MNIST), in a folder or in the archive that they are published in."""

from __future__ import annotations

import gzip
import io
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orfila_engine.data.archives import DataError, first_names, read_entries

LabelKind = Literal["fine", "coarse"]
"""CIFAR-100 has two labels for each picture: one of 100 classes, and one of 20 superclasses."""

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
FASHION_CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_MARKERS = ("data_batch_1.bin", "train.bin", "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")
_MAX_FILE_BYTES = 512 * 2**20
_MAX_ARRAY_BYTES = 64 * 2**30
_CIFAR_PIXELS = 3 * 32 * 32


class Labelled(NamedTuple):
    """Pictures uint8 [N, H, W] or [N, H, W, C], labels [N], how many come first for training, class names."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    n_train: int
    names: tuple[str, ...]


def read_binary(path: Path, kind: LabelKind = "fine") -> Labelled | None:
    """The pictures of CIFAR-10, CIFAR-100 or IDX files; None when there are none at this path.

    path: the folder with the files, the folder above it, or a zip or tar of either.
    Raises DataError when a file is missing or damaged.
    """
    files = _folder(path) if path.is_dir() else _archive(path)
    if files is None:
        return None
    if "train.bin" in files.names():
        return _cifar100(files, kind)
    if kind != "fine":
        raise DataError("only CIFAR-100 has coarse labels; leave out the choice")
    return _cifar10(files) if "data_batch_1.bin" in files.names() else _idx(files)


class _Files:
    """The files of one folder, wherever it lies."""

    def __init__(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        self.name = name
        self._files = files

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise DataError(f"{self.name} lacks {name}")
        file = self._files[name]
        return file if isinstance(file, bytes) else file.read_bytes()

    def lines(self, name: str) -> tuple[str, ...] | None:
        """The lines of a text file that are not empty; None without the file."""
        if name not in self._files:
            return None
        text = self.read(name).decode("utf-8", "replace")
        return tuple(line.strip() for line in text.split("\n") if line.strip())


def _folder(path: Path) -> _Files | None:
    for folder in (path, *sorted(f for f in path.iterdir() if f.is_dir())):
        if any((folder / marker).is_file() for marker in _MARKERS):
            return _Files(folder.name, {f.name: f for f in folder.iterdir() if f.is_file()})
    return None


def _archive(path: Path) -> _Files | None:
    marker = next((n for n in first_names(path) if n.rpartition("/")[2] in _MARKERS), None)
    if marker is None:
        return None
    folder = marker.rpartition("/")[0]
    files: dict[str, bytes] = {}
    for entry in read_entries(path, max_entry_bytes=_MAX_FILE_BYTES):
        parent, _, name = entry.name.rpartition("/")
        if parent == folder.removeprefix("./"):
            files[name] = entry.data
    return _Files(path.name, files)


def _cifar10(files: _Files) -> Labelled:
    batches = [n for n in files.names() if n.startswith("data_batch_") and n.endswith(".bin")]
    tables = [_cifar_rows(files, name, 1) for name in (*batches, "test_batch.bin")]
    names = files.lines("batches.meta.txt") or CIFAR10_CLASSES
    return _cifar(tables, 0, 1, names)


def _cifar100(files: _Files, kind: LabelKind) -> Labelled:
    tables = [_cifar_rows(files, name, 2) for name in ("train.bin", "test.bin")]
    count = {"coarse": 20, "fine": 100}[kind]
    names = files.lines(f"{kind}_label_names.txt") or tuple(f"{i:02d}" for i in range(count))
    return _cifar(tables, 0 if kind == "coarse" else 1, 2, names)


def _cifar_rows(files: _Files, name: str, n_labels: int) -> NDArray[np.uint8]:
    """[N, labels + 3072]: each picture's labels, then its red, green and blue plane."""
    raw = np.frombuffer(files.read(name), dtype=np.uint8)
    if raw.size == 0 or raw.size % (n_labels + _CIFAR_PIXELS):
        raise DataError(f"{name} is not a CIFAR binary file (its size does not fit); use the binary version")
    return raw.reshape(-1, n_labels + _CIFAR_PIXELS)


def _cifar(tables: list[NDArray[np.uint8]], column: int, n_labels: int, names: tuple[str, ...]) -> Labelled:
    table = np.concatenate(tables)
    images = table[:, n_labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Labelled(
        np.ascontiguousarray(images), table[:, column].astype(np.int64), len(table) - len(tables[-1]), names
    )


def _idx(files: _Files) -> Labelled:
    def load(name: str) -> NDArray[np.uint8]:
        return _idx_array(files, name if name in files.names() else f"{name}.gz")

    train, test = load("train-images-idx3-ubyte"), load("t10k-images-idx3-ubyte")
    labels = np.concatenate([load("train-labels-idx1-ubyte"), load("t10k-labels-idx1-ubyte")])
    # Some sets count from 1 or leave a number out: classes are the labels that occur.
    present, labels = np.unique(labels, return_inverse=True)
    fashion = "fashion" in files.name.lower() and present.tolist() == list(range(len(FASHION_CLASSES)))
    names = FASHION_CLASSES if fashion else tuple(str(i) for i in present)
    return Labelled(np.concatenate([train, test]), labels.astype(np.int64), len(train), names)


def _idx_array(files: _Files, name: str) -> NDArray[np.uint8]:
    raw: io.BufferedIOBase = io.BytesIO(files.read(name))
    if name.endswith(".gz"):
        raw = gzip.GzipFile(fileobj=raw)
    try:
        magic = raw.read(4)
        if len(magic) != 4 or magic[:3] != b"\x00\x00\x08":
            raise DataError(f"{name} is not an IDX file of bytes")
        shape = struct.unpack(f">{magic[3]}I", raw.read(4 * magic[3]))
        if math.prod(shape) > _MAX_ARRAY_BYTES:
            raise DataError(f"{name} claims {math.prod(shape):,} bytes; too many")
        data = np.frombuffer(raw.read(math.prod(shape)), dtype=np.uint8)
    except (gzip.BadGzipFile, EOFError, struct.error) as error:
        raise DataError(f"{name} is damaged ({error}); copy it again") from error
    if data.size != math.prod(shape):
        raise DataError(f"{name} is shorter than its header says; copy it again")
    return data.reshape(shape)
