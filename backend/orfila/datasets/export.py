"""A data set version as a zip of class folders, made while it is sent: no file of that size is ever written."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

import numpy as np

from orfila import pictures
from orfila.datasets.images import kept, manifest_of, pixels_of
from orfila.datasets.models import Dataset
from orfila.storage import BlobStore
from orfila.zips import ZipStream

Contents = Literal["originals", "pixels"]
CLASS_LIST = "classes.txt"
_BLOCK = 256
_PLAIN = re.compile(r"[\w][\w .()+-]*", re.ASCII)
_SUFFIXES = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"RIFF", ".webp"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
)


def zipped(store: BlobStore, dataset: Dataset, contents: Contents) -> Iterator[bytes]:
    """The zip's bytes: `classes.txt`, then `train|test/CLASS/INDEX.png` of the images that belong to this version.

    contents: the original files where they were kept, or the pixels that a model sees, as PNG. Reading the zip again
    gives the same classes, labels, splits and order.
    """
    manifest, pixels = manifest_of(store, dataset), pixels_of(store, dataset)
    folders = folders_of(dataset.classes)
    with ZipStream() as archive, _originals(store, dataset) as originals:
        listed = "".join(f"{folder}\t{name}\n" for folder, name in zip(folders, dataset.classes, strict=True))
        archive.add(CLASS_LIST, listed)
        rows = np.flatnonzero(kept(store, dataset))
        for start in range(0, len(rows), _BLOCK):
            for row in manifest.rows(rows[start : start + _BLOCK]):
                index = row["index"]
                if contents == "originals" and row["length"] > 0:
                    originals.seek(row["offset"])
                    data = originals.read(row["length"])
                else:
                    data = pictures.png(pixels[index])
                name = f"{row['split']}/{folders[row['label']]}/{index:07d}{_suffix(data)}"
                archive.add(name, data)
            yield archive.taken()
    yield archive.taken()


def folders_of(classes: Sequence[str]) -> list[str]:
    """A folder for each class: its name where every file system and reader takes it, else its number."""
    names = [name if _PLAIN.fullmatch(name) and len(name) <= 100 else "" for name in classes]
    taken: set[str] = set()
    folders = []
    for label, name in enumerate(names):
        folder = name.rstrip(" .") if name and name.casefold() not in taken else ""
        folder = folder or f"class {label:05d}"
        taken.add(folder.casefold())
        folders.append(folder)
    return folders


def _originals(store: BlobStore, dataset: Dataset) -> BinaryIO:
    sha256 = dataset.files.get("originals.bin")
    return io.BytesIO() if sha256 is None else store.open(sha256)


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), ".png")
