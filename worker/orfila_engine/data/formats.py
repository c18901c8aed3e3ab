"""Which format a data set has: told by looking at the files, never by a client's claim."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from orfila_engine.data import parquet
from orfila_engine.data.archives import DataError, first_names
from orfila_engine.data.binary import LabelKind, read_binary
from orfila_engine.data.sources import Arrays, ClassFolders, Source


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
    if any(name.lower().endswith(parquet.SUFFIX) for name in first_names(path)):
        return parquet.Parquet(path)
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(4)
        if start == parquet.MAGIC:
            return parquet.Parquet(path)
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
