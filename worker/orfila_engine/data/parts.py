"""The second reading of a data set: its pictures, in parts that are ranges of `index`, and the parts joined to a pack.

A part is a directory with the pixels, the original files end to end, what is known of each picture, and the thumbnail
atlases of its range. Whether there is one part or many, and who made them, the joined pack is the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from orfila_engine.data import atlas
from orfila_engine.data.archives import DataError
from orfila_engine.data.images import decode, to_pixels
from orfila_engine.data.sources import CHANGED, Picture, Source
from orfila_engine.data.survey import OnBroken, Survey

FORMAT = "orfila-pack/1"
Progress = Callable[[int, int], None]
_LISTED_SKIPS = 1_000
_BLOCK = 4_096
_PIECE = 4 * 2**20
_COLUMNS = ("sha256", "width", "height", "mode", "note", "length", "reason")


@dataclass
class _Known:
    """What the second reading finds out about the pictures of a range. `reason` says why one is broken."""

    sha256: list[str]
    width: list[int]
    height: list[int]
    mode: list[str]
    note: list[str]
    length: list[int]
    reason: list[str | None]

    @classmethod
    def of(cls, n: int) -> _Known:
        return cls([""] * n, [0] * n, [0] * n, [""] * n, [""] * n, [0] * n, [None] * n)


@dataclass(frozen=True)
class Part:
    """A part that is on the disk."""

    path: Path
    start: int
    stop: int
    known: _Known = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Part:
        """Read what `fill` wrote."""
        about = json.loads((path / "part.json").read_text())
        table = pq.read_table(path / "known.parquet")
        known = _Known(**{name: table.column(name).to_pylist() for name in _COLUMNS})
        return cls(path, about["start"], about["stop"], known)

    @property
    def is_whole(self) -> bool:
        """Whether no picture of its range is broken."""
        return bool(self.kept.all())

    @property
    def kept(self) -> NDArray[np.bool_]:
        """[stop - start] which of its pictures are not broken."""
        return np.array([reason is None for reason in self.known.reason])


def ranges(survey: Survey, images: int) -> list[tuple[int, int]]:
    """Parts (start, stop) of about so many images. They begin where a sheet of thumbnails does."""
    step = max(1, round(images / atlas.PER_SHEET)) * atlas.PER_SHEET
    n = len(survey.rows)
    return [(start, min(start + step, n)) for start in range(0, n, step)]


def fill(
    source: Source,
    survey: Survey,
    start: int,
    stop: int,
    out_dir: Path,
    *,
    on_broken: OnBroken = "refuse",
    keep_originals: bool = False,
    atlases: bool = False,
    progress: Progress | None = None,
) -> Part:
    """Read the pictures `index` start .. stop - 1 into a part at `out_dir`; see `pack` for the settings.

    Raises DataError when the source is not what the survey saw, or a picture is broken and that is not allowed.
    """
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.mkdir(parents=True)
    place = np.full(len(survey.rows), -1)
    place[survey.order[start:stop]] = np.arange(stop - start)
    n = stop - start
    pixels = np.lib.format.open_memmap(out_dir / "pixels.npy", mode="w+", dtype=np.uint8, shape=(n, *survey.shape))
    known, done = _Known.of(n), 0
    with _Originals(out_dir, keep_originals) as originals:
        for number, picture in source.read_only(place >= 0):
            if number >= len(survey.rows) or picture.name != survey.rows[number].name:
                raise DataError(CHANGED)
            row, at = survey.rows[number], int(place[number])
            done += 1
            if row.broken:
                known.reason[at] = ""  # the survey has listed it
                continue
            try:
                pixels[at] = _decode(picture, survey.shape, known, at)
            except DataError as error:
                if on_broken == "refuse":
                    raise DataError(f"{error}; remove or replace it, or choose to skip broken pictures") from error
                known.reason[at] = str(error)
                continue
            if keep_originals and isinstance(picture.data, bytes):
                known.length[at] = len(picture.data)
                originals.write(picture.data, in_test=start + at >= survey.n_train)
            if progress is not None and (done % 64 == 0 or done == n):
                progress(done, n)
    if done != n:
        raise DataError(CHANGED)
    part = Part(out_dir, start, stop, known)
    if atlases and part.is_whole:
        atlas.write(out_dir, pixels, start // atlas.PER_SHEET)
    _write_known(out_dir / "known.parquet", known)
    (out_dir / "part.json").write_text(json.dumps({"start": start, "stop": stop}))
    return part


def make_unique(part: Part) -> None:
    """Give a part's files an ending of their own.

    A store that keeps equal files once may then drop them after use, without asking who else has such a part.
    """
    for name in ("pixels.npy", "originals.bin"):
        with (part.path / name).open("ab") as file:
            file.write(uuid.uuid4().bytes)


def join(
    survey: Survey, parts: Sequence[Part], out_dir: Path, *, atlases: bool = False, move: bool = False
) -> dict[str, Any]:
    """Join the parts of all pictures, in order, to what a pack holds; returns what its meta.json says.

    move: take the files of a single part as they are. Else they are copied: those of a part that comes from a store
    are the store's own. Raises DataError when no picture is left.
    """
    assert [p.start for p in parts] == [0, *(p.stop for p in parts[:-1])], "parts follow each other"
    assert parts[-1].stop == len(survey.rows), "parts are of all pictures"
    kept = np.concatenate([p.kept for p in parts])
    if not kept.any():
        raise DataError("none of the pictures can be decoded; check the archive")
    move = move and len(parts) == 1
    if move and kept.all():
        (parts[0].path / "pixels.npy").replace(out_dir / "pixels.npy")
        pixels: NDArray[np.uint8] = np.load(out_dir / "pixels.npy", mmap_mode="r")
    else:
        pixels = _join_pixels(survey, parts, kept, out_dir)
    if (parts[0].path / "originals.bin").exists():
        if move:
            (parts[0].path / "originals.bin").replace(out_dir / "originals.bin")
        else:
            _join_originals(parts, out_dir / "originals.bin")
    table = _manifest(survey, parts, kept)
    meta = _describe(survey, parts, table)
    pq.write_table(table, out_dir / "manifest.parquet", compression="zstd")
    if atlases:
        whole = all(p.is_whole for p in parts)
        for sheet in (s for p in parts if whole for s in sorted(p.path.glob("atlas-*.webp"))):
            sheet.replace(out_dir / sheet.name)
        meta["atlas"] = atlas.about(pixels.shape) if whole else atlas.write(out_dir, pixels)
    return meta


class _Originals:
    """The original files of a range by `index`: those for training as they come, then those of the test split."""

    def __init__(self, folder: Path, keep: bool) -> None:
        self._paths = [folder / "originals.bin", folder / "originals-test.bin"]
        self._files: list[IO[bytes]] = [p.open("wb") if keep else io.BytesIO() for p in self._paths]
        self._keep = keep

    def __enter__(self) -> _Originals:
        return self

    def write(self, data: bytes, *, in_test: bool) -> None:
        self._files[in_test].write(data)

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
        if self._keep:
            _append(self._paths[0], self._paths[1], self._paths[1].stat().st_size)
            self._paths[1].unlink()


def _decode(picture: Picture, shape: tuple[int, int, int], known: _Known, at: int) -> NDArray[np.uint8]:
    """The pixels of a picture; what is known of it goes into `known`."""
    notes: tuple[str, ...]
    if isinstance(picture.data, bytes):
        known.sha256[at] = hashlib.sha256(picture.data).hexdigest()
        decoded = decode(picture.data, picture.name)
        known.width[at], known.height[at], known.mode[at] = decoded.width, decoded.height, decoded.mode
        image, notes = to_pixels(decoded.image, shape[:2], shape[2])
        notes = decoded.notes + notes
    else:
        data = picture.data
        known.sha256[at] = hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()
        known.width[at], known.height[at] = data.shape[1], data.shape[0]
        known.mode[at] = "L" if data.shape[2] == 1 else "RGB"
        image, notes = (data, ()) if data.shape == shape else _converted(data, shape)
    known.note[at] = "; ".join(notes)
    return image


def _converted(data: NDArray[np.uint8], shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    return to_pixels(Image.fromarray(data.squeeze()), shape[:2], shape[2])


def _write_known(path: Path, known: _Known) -> None:
    types = {"width": pa.int32(), "height": pa.int32(), "length": pa.int64()}
    columns = {name: pa.array(getattr(known, name), types.get(name, pa.string())) for name in _COLUMNS}
    # The name makes the file one of its kind, see `make_unique`.
    table = pa.table(columns).replace_schema_metadata({"name": uuid.uuid4().hex})
    pq.write_table(table, path, compression="zstd")


def _join_pixels(survey: Survey, parts: Sequence[Part], kept: NDArray[np.bool_], out_dir: Path) -> NDArray[np.uint8]:
    joined = np.lib.format.open_memmap(
        out_dir / "pixels.npy", mode="w+", dtype=np.uint8, shape=(int(kept.sum()), *survey.shape)
    )
    at = 0
    for part in parts:
        pixels, wanted = np.load(part.path / "pixels.npy", mmap_mode="r"), part.kept
        for low in range(0, len(wanted), _BLOCK):
            block = pixels[low : low + _BLOCK][wanted[low : low + _BLOCK]]
            joined[at : at + len(block)] = block
            at += len(block)
    return joined


def _join_originals(parts: Sequence[Part], target: Path) -> None:
    for part in parts:
        _append(target, part.path / "originals.bin", sum(part.known.length))


def _append(target: Path, source: Path, size: int) -> None:
    """Append the first `size` bytes of a file to another."""
    with target.open("ab") as out, source.open("rb") as file:
        while size and (piece := file.read(min(size, _PIECE))):
            out.write(piece)
            size -= len(piece)
    if size:
        raise OSError(f"{source.name} is shorter than it was")


def _manifest(survey: Survey, parts: Sequence[Part], kept: NDArray[np.bool_]) -> pa.Table:
    rows = [survey.rows[i] for i, keep in zip(survey.order.tolist(), kept.tolist(), strict=True) if keep]
    known = {
        name: [value for p in parts for value, keep in zip(getattr(p.known, name), p.kept, strict=True) if keep]
        for name in _COLUMNS
    }
    label = {c: i for i, c in enumerate(survey.classes)}
    length = np.array(known["length"], dtype=np.int64)
    return pa.table(
        {
            "index": pa.array(range(len(rows)), pa.int32()),
            "split": pa.array([r.split for r in rows], pa.string()),
            "name": pa.array([r.name for r in rows], pa.string()),
            "label": pa.array([label[r.class_name] for r in rows], pa.int32()),
            "sha256": pa.array(known["sha256"], pa.string()),
            "width": pa.array(known["width"], pa.int32()),
            "height": pa.array(known["height"], pa.int32()),
            "mode": pa.array(known["mode"], pa.string()),
            "note": pa.array(known["note"], pa.string()),
            # A picture that came as pixels has no original, and no place.
            "offset": pa.array(np.where(length > 0, np.cumsum(length) - length, 0), pa.int64()),
            "length": pa.array(length, pa.int64()),
        }
    )


def _describe(survey: Survey, parts: Sequence[Part], table: pa.Table) -> dict[str, Any]:
    """What meta.json says, but for the atlases."""
    classes = survey.classes
    columns = {name: table.column(name).to_pylist() for name in ("split", "label", "sha256", "note")}
    counts = {s: [0] * len(classes) for s in ("train", "test")}
    for split, label in zip(columns["split"], columns["label"], strict=True):
        counts[split][label] += 1
    if 0 in counts["train"]:
        empty = classes[counts["train"].index(0)]
        raise DataError(f"the class '{empty}' has no training pictures; add some or remove its folder")
    # The digest is of the original bytes; a size that they do not say themselves is part of what was made of them.
    size = survey.chosen_size
    head = [FORMAT, list(classes)] if size is None else [FORMAT, list(classes), list(size)]
    digest = hashlib.sha256(json.dumps(head).encode())
    for sha256, label, split in zip(columns["sha256"], columns["label"], columns["split"], strict=True):
        digest.update(f"{sha256} {classes[label]} {split}\n".encode())
    broken = [
        {"name": survey.rows[survey.order[p.start + at]].name, "reason": reason}
        for p in parts
        for at, reason in enumerate(p.known.reason)
        if reason
    ]
    skipped = [*survey.skipped, *broken]
    return {
        "format": FORMAT,
        "classes": list(classes),
        "height": survey.shape[0],
        "width": survey.shape[1],
        "channels": survey.shape[2],
        "n_train": sum(counts["train"]),
        "n_test": sum(counts["test"]),
        "split": survey.split,
        "counts": counts,
        "converted": dict(Counter(kind for note in columns["note"] for kind in _kinds(note))),
        "examples": _examples(columns["sha256"], columns["note"]),
        "n_skipped": len(skipped),
        "skipped": skipped[:_LISTED_SKIPS],
        "n_duplicates": len(table) - len(set(columns["sha256"])),
        "digest": digest.hexdigest(),
    }


def _kinds(note: str) -> list[str]:
    """Kinds of conversion that a note names."""
    return [each.split(" from ")[0] for each in note.split("; ") if each]


def _examples(sha256: Sequence[str], notes: Sequence[str]) -> dict[str, int]:
    """Kind of conversion, or "duplicate" -> `index` of the first picture of that kind."""
    found: dict[str, int] = {}
    seen: set[str] = set()
    for index, (digest, note) in enumerate(zip(sha256, notes, strict=True)):
        for kind in _kinds(note):
            found.setdefault(kind, index)
        if digest in seen:
            found.setdefault("duplicate", index)
        seen.add(digest)
    return found
