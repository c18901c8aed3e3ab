"""The packed data set: pixels that can be memory-mapped, and a manifest with one row for each image.

A pack is a directory:

- `meta.json`         classes, size, counts, what was converted and skipped, digest
- `manifest.parquet`  row number = index: split, name, label, sha256, width, height, mode, note, offset, length
- `pixels.npy`        uint8 [N, H, W, C]; training images come first
- `originals.bin`     the original files end to end (optional)
- `atlas-NNNN.webp`   lossless sheets of 32 x 32 thumbnails (optional)

It is written under another name and renamed when complete, so a killed process leaves no half pack.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orfila_engine.data import atlas
from orfila_engine.data.archives import DataError
from orfila_engine.data.formats import open_source
from orfila_engine.data.parts import FORMAT, Part, Progress, fill, join
from orfila_engine.data.sources import Arrays, Source
from orfila_engine.data.survey import Survey, survey

MAX_EDGE = 1024


@dataclass(frozen=True)
class PackedDataset:
    """A pack opened for reading. Row i of everything is image `index` i; the first `n_train` are for training."""

    path: Path
    meta: dict[str, Any]
    pixels: NDArray[np.uint8]
    """[N, H, W, C], memory-mapped."""
    labels: NDArray[np.int64]
    """[N]"""
    names: Sequence[str] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> PackedDataset:
        """Open a pack; raises DataError when the directory is not one."""
        try:
            meta = json.loads((path / "meta.json").read_text())
            table = pq.read_table(path / "manifest.parquet", columns=["label", "name"])
            pixels = np.load(path / "pixels.npy", mmap_mode="r")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a packed data set ({error}); pack the data again") from error
        if meta.get("format") != FORMAT:
            raise DataError(f"{path} has the format {meta.get('format')!r}, this version reads {FORMAT}; pack it again")
        labels = table.column("label").to_numpy().astype(np.int64)
        return cls(path, meta, pixels, labels, table.column("name").to_pylist())

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self.meta["classes"])

    @property
    def n_train(self) -> int:
        """Number of training images; they are rows 0 .. n_train - 1."""
        return int(self.meta["n_train"])

    @property
    def digest(self) -> str:
        """SHA-256 of classes, labels, splits and image bytes."""
        return str(self.meta["digest"])

    @property
    def train(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Training pixels [n_train, H, W, C] and labels."""
        return self.pixels[: self.n_train], self.labels[: self.n_train]

    @property
    def test(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Test pixels [n_test, H, W, C] and labels."""
        return self.pixels[self.n_train :], self.labels[self.n_train :]


def pack(
    source: Path | Source,
    out_dir: Path,
    *,
    on_broken: Literal["refuse", "skip"] = "refuse",
    size: tuple[int, int] | None = None,
    keep_originals: bool = False,
    atlases: bool = False,
    seed: int = 0,
    class_names: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> PackedDataset:
    """Read a data set into a pack at `out_dir` (which must not exist).

    size: (height, width) that all pictures are resized to; the most frequent size by default.
    on_broken: refuse the data set because of a picture that cannot be decoded (it is named), or leave it out.
    seed: of the split, where the source has none: 10 % of each class becomes the test split.
    class_names: other names for classes, by the folder or label that they have; two with one name become one class.
    progress: called with (pictures done, pictures in all); may raise to cancel.

    Raises DataError for a source that cannot be used.
    """
    if size is not None and not all(1 <= edge <= MAX_EDGE for edge in size):
        raise DataError(f"pictures of {size[1]} x {size[0]} pixels cannot be packed; choose 1 to {MAX_EDGE}")
    opened = open_source(source) if isinstance(source, Path) else source
    found = survey(opened, on_broken=on_broken, size=size, seed=seed, class_names=class_names)
    part = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    whole = fill(
        opened,
        found,
        0,
        len(found.rows),
        part / "all",
        on_broken=on_broken,
        keep_originals=keep_originals,
        atlases=atlases,
        progress=progress,
    )
    meta = join(found, [whole], part, atlases=atlases, move=True)
    shutil.rmtree(whole.path)
    return _finish(part, meta, out_dir)


def pack_parts(found: Survey, parts: Sequence[Part], out_dir: Path, *, atlases: bool = False) -> PackedDataset:
    """Join the parts of a data set, in order, to the pack that `pack` would make; they stay as they are."""
    writing = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    return _finish(writing, join(found, parts, writing, atlases=atlases), out_dir)


def _finish(writing: Path, meta: dict[str, Any], out_dir: Path) -> PackedDataset:
    (writing / "meta.json").write_text(json.dumps(meta, indent=1))
    writing.rename(out_dir)
    return PackedDataset.open(out_dir)


def add_atlases(packed: PackedDataset) -> PackedDataset:
    """Draw the thumbnail atlases of a pack, unless it has them."""
    if "atlas" in packed.meta:
        return packed
    meta = packed.meta | {"atlas": atlas.write(packed.path, packed.pixels)}
    part = packed.path / "meta.json.part"
    part.write_text(json.dumps(meta, indent=1))
    part.replace(packed.path / "meta.json")
    return PackedDataset.open(packed.path)


def resolve(path: Path, cache: Path) -> PackedDataset:
    """Open a pack, or pack any other data set below `cache` (kept for the next time, by name, size and time)."""
    if (path / "meta.json").is_file():
        return PackedDataset.open(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; give a folder, archive or file of pictures")
    state = path.stat()
    files = sum(1 for _ in path.rglob("*")) if path.is_dir() else 0
    key = hashlib.sha256(f"{path.resolve()}:{state.st_size}:{state.st_mtime_ns}:{files}".encode()).hexdigest()[:16]
    target = cache / key
    return PackedDataset.open(target) if target.is_dir() else pack(path, target)


__all__ = ["Arrays", "PackedDataset", "add_atlases", "pack", "pack_parts", "resolve"]
