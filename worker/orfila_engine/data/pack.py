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
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from orfila_engine.data.archives import DataError
from orfila_engine.data.formats import open_source
from orfila_engine.data.images import GREY_MODES, decode, read_header, to_pixels
from orfila_engine.data.sources import CLASS_LIST, Arrays, Picture, Source, Split, Unused

FORMAT = "orfila-pack/1"
TEST_SHARE = 0.1
ATLAS_EDGE = 32
MAX_TILE = 64
MAX_EDGE = 1024
_LISTED_SKIPS = 1_000
Progress = Callable[[int, int], None]


@dataclass
class _Row:
    name: str
    class_name: str
    split: Split | None
    size: tuple[int, int]
    grey: bool
    sha256: str = ""
    mode: str = ""
    note: str = ""
    offset: int = 0
    length: int = 0
    broken: bool = False


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
    rows, skipped = _survey(opened, on_broken)
    classes = _classes(opened, rows, class_names)
    given = _assign_splits(rows, classes, seed)
    order = sorted(range(len(rows)), key=lambda i: (rows[i].split != "train", i))
    position = {source_row: index for index, source_row in enumerate(order)}
    height, width = size or Counter(r.size for r in rows).most_common(1)[0][0]
    channels = 1 if all(r.grey for r in rows) else 3

    part = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    pixels: NDArray[np.uint8] = np.lib.format.open_memmap(
        part / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(rows), height, width, channels)
    )
    converted: Counter[str] = Counter()
    with (part / "originals.bin").open("wb") if keep_originals else io.BytesIO() as originals:
        for number, picture in enumerate(_pictures(opened, rows)):
            row = rows[number]
            if row.broken:
                continue  # the survey has listed it
            try:
                image, notes = _decode(picture, row, (height, width), channels)
            except DataError as error:
                if on_broken == "refuse":
                    raise DataError(f"{error}; remove or replace it, or choose to skip broken pictures") from error
                row.broken = True
                skipped.append({"name": row.name, "reason": str(error)})
                continue
            pixels[position[number]] = image
            row.note = "; ".join(notes)
            converted.update(n.split(" from ")[0] for n in notes)
            if keep_originals and isinstance(picture.data, bytes):
                row.offset, row.length = originals.tell(), len(picture.data)
                originals.write(picture.data)
            if progress is not None and (number % 64 == 0 or number == len(rows) - 1):
                progress(number + 1, len(rows))
    kept = [rows[i] for i in order]
    if any(r.broken for r in kept):
        pixels = _drop_broken(part, pixels, np.array([not r.broken for r in kept]))
        kept = [r for r in kept if not r.broken]
    meta = _describe(kept, classes, (height, width, channels), size, given, converted, skipped)
    _write_manifest(part / "manifest.parquet", kept, classes)
    if atlases:
        meta["atlas"] = _write_atlases(part, pixels)
    (part / "meta.json").write_text(json.dumps(meta, indent=1))
    part.rename(out_dir)
    return PackedDataset.open(out_dir)


def add_atlases(packed: PackedDataset) -> PackedDataset:
    """Draw the thumbnail atlases of a pack, unless it has them."""
    if "atlas" in packed.meta:
        return packed
    meta = packed.meta | {"atlas": _write_atlases(packed.path, packed.pixels)}
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


def _survey(source: Source, on_broken: str) -> tuple[list[_Row], list[dict[str, str]]]:
    """First pass: names, classes, sizes from the headers of the files."""
    rows: list[_Row] = []
    skipped: list[dict[str, str]] = []
    for item in source.read():
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
                rows.append(_Row(item.name, item.class_name, item.split, (0, 0), grey=True, broken=True))
                skipped.append({"name": item.name, "reason": str(error)})
                continue
            size, grey = (header.height, header.width), header.mode in GREY_MODES
        else:
            size, grey = (item.data.shape[0], item.data.shape[1]), item.data.shape[2] == 1
        rows.append(_Row(item.name, item.class_name, item.split, size, grey))
    sound = [r for r in rows if not r.broken]
    if not sound:
        raise DataError("the data set holds no pictures; pack folders of pictures, one folder for each class")
    modal = Counter(r.size for r in sound).most_common(1)[0][0]
    for row in rows:
        if row.broken:
            row.size = modal
    return rows, skipped


def _pictures(source: Source, rows: list[_Row]) -> Iterator[Picture]:
    for row, item in zip(rows, (i for i in source.read() if isinstance(i, Picture)), strict=True):
        if item.name != row.name:
            raise DataError("the data set changed while it was read; try again")
        yield item


def _classes(source: Source, rows: list[_Row], class_names: Mapping[str, str] | None) -> tuple[str, ...]:
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


def _assign_splits(rows: list[_Row], classes: Sequence[str], seed: int) -> Literal["given", "seeded"]:
    """Give every row a split; says whether the source had one."""
    splits = {r.split for r in rows}
    if "test" in splits and (None in splits or "train" in splits):
        for row in rows:
            row.split = row.split or "train"
    else:
        by_class: dict[str, list[_Row]] = {c: [] for c in classes}
        for row in rows:
            row.split = "train"
            by_class[row.class_name].append(row)
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


def _decode(
    picture: Picture, row: _Row, size: tuple[int, int], channels: int
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    if isinstance(picture.data, bytes):
        row.sha256 = hashlib.sha256(picture.data).hexdigest()
        decoded = decode(picture.data, picture.name)
        row.size, row.mode = (decoded.height, decoded.width), decoded.mode
        image, notes = to_pixels(decoded.image, size, channels)
        return image, decoded.notes + notes
    row.sha256 = hashlib.sha256(np.ascontiguousarray(picture.data).tobytes()).hexdigest()
    row.mode = "L" if picture.data.shape[2] == 1 else "RGB"
    if picture.data.shape == (*size, channels):
        return picture.data, ()
    return to_pixels(Image.fromarray(picture.data.squeeze()), size, channels)


def _drop_broken(part: Path, pixels: NDArray[np.uint8], keep: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Copy the kept rows to a new file, a block at a time."""
    indices = np.flatnonzero(keep)
    if len(indices) == 0:
        raise DataError("none of the pictures can be decoded; check the archive")
    target = np.lib.format.open_memmap(
        part / "kept.npy", mode="w+", dtype=np.uint8, shape=(len(indices), *pixels.shape[1:])
    )
    for start in range(0, len(indices), 4096):
        target[start : start + 4096] = pixels[indices[start : start + 4096]]
    target.flush()
    (part / "kept.npy").replace(part / "pixels.npy")
    return target


def _describe(
    rows: list[_Row],
    classes: Sequence[str],
    shape: tuple[int, int, int],
    chosen_size: tuple[int, int] | None,
    given: str,
    converted: Counter[str],
    skipped: list[dict[str, str]],
) -> dict[str, Any]:
    counts = {s: Counter(r.class_name for r in rows if r.split == s) for s in ("train", "test")}
    empty = [c for c in classes if counts["train"][c] == 0]
    if empty:
        raise DataError(f"the class '{empty[0]}' has no training pictures; add some or remove its folder")
    # The digest is of the original bytes; a size that they do not say themselves is part of what was made of them.
    head = [FORMAT, list(classes)] if chosen_size is None else [FORMAT, list(classes), list(chosen_size)]
    digest = hashlib.sha256(json.dumps(head).encode())
    for row in rows:
        digest.update(f"{row.sha256} {row.class_name} {row.split}\n".encode())
    return {
        "format": FORMAT,
        "classes": list(classes),
        "height": shape[0],
        "width": shape[1],
        "channels": shape[2],
        "n_train": counts["train"].total(),
        "n_test": counts["test"].total(),
        "split": given,
        "counts": {s: [counts[s][c] for c in classes] for s in ("train", "test")},
        "converted": dict(converted),
        "examples": _examples(rows),
        "n_skipped": len(skipped),
        "skipped": skipped[:_LISTED_SKIPS],
        "n_duplicates": len(rows) - len({r.sha256 for r in rows}),
        "digest": digest.hexdigest(),
    }


def _examples(rows: list[_Row]) -> dict[str, int]:
    """Kind of conversion, or "duplicate" -> `index` of the first picture of that kind."""
    found: dict[str, int] = {}
    seen: set[str] = set()
    for index, row in enumerate(rows):
        for note in filter(None, row.note.split("; ")):
            found.setdefault(note.split(" from ")[0], index)
        if row.sha256 in seen:
            found.setdefault("duplicate", index)
        seen.add(row.sha256)
    return found


def _write_manifest(path: Path, rows: list[_Row], classes: Sequence[str]) -> None:
    label = {c: i for i, c in enumerate(classes)}
    table = pa.table(
        {
            "index": pa.array(range(len(rows)), pa.int32()),
            "split": pa.array([r.split for r in rows], pa.string()),
            "name": pa.array([r.name for r in rows], pa.string()),
            "label": pa.array([label[r.class_name] for r in rows], pa.int32()),
            "sha256": pa.array([r.sha256 for r in rows], pa.string()),
            "width": pa.array([r.size[1] for r in rows], pa.int32()),
            "height": pa.array([r.size[0] for r in rows], pa.int32()),
            "mode": pa.array([r.mode for r in rows], pa.string()),
            "note": pa.array([r.note for r in rows], pa.string()),
            "offset": pa.array([r.offset for r in rows], pa.int64()),
            "length": pa.array([r.length for r in rows], pa.int64()),
        }
    )
    pq.write_table(table, path, compression="zstd")


def _write_atlases(part: Path, pixels: NDArray[np.uint8]) -> dict[str, int]:
    """Sheets of 32 x 32 tiles. Small pictures keep their size; larger ones are shrunk to fit 64 px."""
    n, height, width, channels = pixels.shape
    tile = min(MAX_TILE, max(height, width))
    per_sheet = ATLAS_EDGE * ATLAS_EDGE
    count = -(-n // per_sheet)
    for number in range(count):
        block = pixels[number * per_sheet : (number + 1) * per_sheet]
        # Every sheet has the full size, the last one too: whoever scales it must not have to know how full it is.
        sheet = np.zeros((ATLAS_EDGE * tile, ATLAS_EDGE * tile, channels), dtype=np.uint8)
        for i, image in enumerate(block):
            thumb = _thumbnail(image, tile)
            top, left = (i // ATLAS_EDGE) * tile, (i % ATLAS_EDGE) * tile
            top, left = top + (tile - thumb.shape[0]) // 2, left + (tile - thumb.shape[1]) // 2
            sheet[top : top + thumb.shape[0], left : left + thumb.shape[1]] = thumb
        Image.fromarray(sheet.squeeze()).save(part / f"atlas-{number:04d}.webp", lossless=True, quality=0, method=0)
    return {"tile": tile, "columns": ATLAS_EDGE, "rows": ATLAS_EDGE, "count": count}


def _thumbnail(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    height, width, channels = image.shape
    if max(height, width) <= tile:
        return image
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(image.squeeze()).resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8).reshape(size[1], size[0], channels)


__all__ = ["Arrays", "PackedDataset", "add_atlases", "pack", "resolve"]
