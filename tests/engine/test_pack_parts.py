"""Reading a data set in parts, by whoever: the pack is byte for byte the one that is read at once."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from orfila_engine.data import DataError, pack
from orfila_engine.data.formats import open_source
from orfila_engine.data.pack import pack_parts
from orfila_engine.data.parts import Part, fill, make_unique, ranges
from orfila_engine.data.survey import OnBroken, Survey, survey

N = 2_300


def _png(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _damaged(data: bytes) -> bytes:
    """Its header is sound, so that only the second reading notices."""
    return data[:60] + bytes(len(data) - 60)


def _zip(path: Path, *, broken: bool) -> Path:
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no picture")
        for number in range(N):
            data = _png(rng)
            if broken and number in (0, 700, 701, 2_299):
                data = _damaged(data)
            if broken and number == 5:
                data = b"nothing"
            archive.writestr(f"set/{'cat' if number % 3 else 'dog'}/{number}.png", data)
        archive.writestr("set/cat/copy.png", data if not broken else _png(rng))
        archive.writestr("set/cat/again.png", data if not broken else _png(rng))
    return path


def _parquet(path: Path) -> Path:
    rng = np.random.default_rng(1)
    with zipfile.ZipFile(path, "w") as archive:
        for split, n in (("test", 300), ("train", 2_000)):
            rows = [{"image": {"bytes": _png(rng), "path": None}, "label": i % 3} for i in range(n)]
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=400)
            archive.writestr(f"data/{split}-00000-of-00001.parquet", buffer.getvalue())
    return path


def _npz(path: Path) -> Path:
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 256, (N, 6, 5, 3), dtype=np.uint8), rng.integers(0, 4, N)
    np.savez(path, x_train=images[:2_000], y_train=labels[:2_000], x_test=images[2_000:], y_test=labels[2_000:])
    return path


def _in_parts(archive: Path, folder: Path, on_broken: OnBroken, size: tuple[int, int] | None) -> Path:
    """As workers do it: each opens the archive and the survey anew, and the parts come in any order."""
    survey(open_source(archive), on_broken=on_broken, size=size, seed=3).save(folder / "survey")
    found = Survey.open(folder / "survey")
    parts = ranges(found, 1_000)
    assert parts[:2] == [(0, 1_024), (1_024, 2_048)]
    for start, stop in reversed(parts):
        made = fill(
            open_source(archive),
            Survey.open(folder / "survey"),
            start,
            stop,
            folder / f"part-{start}",
            on_broken=on_broken,
            keep_originals=True,
            atlases=True,
        )
        make_unique(made)
    opened = [Part.open(folder / f"part-{start}") for start, _ in parts]
    return pack_parts(found, opened, folder / "joined", atlases=True).path


@pytest.mark.parametrize(
    ("kind", "on_broken", "size"),
    [("zip", "refuse", None), ("broken", "skip", None), ("parquet", "refuse", (8, 8)), ("npz", "refuse", None)],
)
def test_parts_make_the_same_pack(kind: str, on_broken: OnBroken, size: tuple[int, int] | None, tmp_path: Path) -> None:
    archive = tmp_path / ("a.npz" if kind == "npz" else "a.zip")
    if kind in ("zip", "broken"):
        _zip(archive, broken=kind == "broken")
    else:
        {"parquet": _parquet, "npz": _npz}[kind](archive)
    whole = pack(archive, tmp_path / "whole", on_broken=on_broken, size=size, seed=3, keep_originals=True, atlases=True)
    joined = _in_parts(archive, tmp_path, on_broken, size)
    files = sorted(p.name for p in whole.path.iterdir())
    assert files == sorted(p.name for p in joined.iterdir())
    assert {"pixels.npy", "originals.bin", "manifest.parquet", "atlas-0000.webp", "atlas-0002.webp"} <= set(files)
    for name in files:
        assert (joined / name).read_bytes() == (whole.path / name).read_bytes(), name
    if kind == "broken":
        assert whole.meta["n_skipped"] == 6
        assert len(whole.pixels) == N + 2 - 5


def test_parts_that_are_alike_differ_in_every_file_that_is_dropped_later(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", broken=False)
    found = survey(open_source(archive), seed=3)
    for name in ("one", "two"):
        make_unique(fill(open_source(archive), found, 0, 1_024, tmp_path / name, keep_originals=True, atlases=True))
    for file in ("pixels.npy", "originals.bin", "known.parquet"):
        assert (tmp_path / "one" / file).read_bytes() != (tmp_path / "two" / file).read_bytes()
    assert (tmp_path / "one/atlas-0000.webp").read_bytes() == (tmp_path / "two/atlas-0000.webp").read_bytes()


def test_an_archive_that_is_another_one_by_then_is_refused(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", broken=False)
    found = survey(open_source(archive))
    other = _zip(tmp_path / "b.zip", broken=False)
    with zipfile.ZipFile(other, "a") as more:
        more.writestr("set/dog/new.png", _png(np.random.default_rng(5)))
    with pytest.raises(DataError, match="changed while it was read"):
        fill(open_source(other), found, 1_024, len(found.rows), tmp_path / "part")


def test_a_class_of_broken_pictures_only_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(8):
            archive.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", _png(np.random.default_rng(number)))
        archive.writestr("emu/0.png", b"nothing")
    packed = pack(tmp_path / "a.zip", tmp_path / "out", on_broken="skip")
    assert packed.classes == ("cat", "dog")
    assert packed.meta["skipped"][0]["name"] == "emu/0.png"
