"""What the store costs: disk written once, memory that does not grow with it, time that grows with the images."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import scale
from orfila_engine.fingerprint import FingerprintIndex, IndexSpec, ShardWriter, reduce_shards
from orfila_engine.gradients import IndexedLayer

LAYER = IndexedLayer("one", "conv2d", 16, 16, 0, 100)
MEGA = 10**6


def shards_in(folder: Path, bounds: list[int]) -> list[Path]:
    rng = np.random.default_rng(0)
    made = []
    for start, stop in itertools.pairwise(bounds):
        made.append(folder / f"shard-{start:05d}")
        writer = ShardWriter(made[-1], start, stop, [LAYER], IndexSpec(), "model")
        writer.add(torch.from_numpy(rng.standard_normal((stop - start, 256)).astype(np.float32)))
        writer.close(torch.zeros(stop - start), [], "cpu")
    return made


def disk(folder: Path) -> int:
    files = {p.stat().st_ino: p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    return sum(files.values())


def test_rows_are_written_once(tmp_path: Path) -> None:
    shards = shards_in(tmp_path, [0, 4_000, 8_000])
    reduce_shards(shards, tmp_path / "index")
    rows, small = 8_000 * 256 * 2, 2 * 256 * 256 * 4 + 256 * 256 * 8 + 8_000 * 12
    assert rows < disk(tmp_path) < rows + small + 20_000
    for shard in shards:
        shutil.rmtree(shard)
    assert FingerprintIndex.open(tmp_path / "index").fingerprints[7_999].any()


def test_a_killed_reduction_leaves_the_shards_and_no_index(tmp_path: Path) -> None:
    """It can run again; nothing was changed in place."""
    shards = shards_in(tmp_path, [0, 500, 1_000])
    reduce_shards(shards, tmp_path / "expected")

    def kill(_doing: str, _share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reduce_shards(shards, tmp_path / "index", progress=kill)
    assert not (tmp_path / "index").exists()
    reduce_shards(shards, tmp_path / "index")
    for name in ("gradients-00001.npy", "self_influence.npy", "whitening.safetensors"):
        assert (tmp_path / "index" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    reduce_shards(shards_in(tmp_path, [0, 500, 1_000]), tmp_path / "index")
    file = tmp_path / "index" / "gradients-00001.npy"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(ValueError, match="build it again"):
        FingerprintIndex.open(tmp_path / "index")
    file.write_bytes(content[:-2])
    with pytest.raises(ValueError, match="cut off"):
        FingerprintIndex.open(tmp_path / "index")
    np.save(file, np.zeros((500, 255), dtype=np.float16))
    with pytest.raises(ValueError, match="differ in length"):
        FingerprintIndex.open(tmp_path / "index")
    np.save(file, np.zeros((500, 256), dtype=np.int16))
    with pytest.raises(ValueError, match="no array of rows"):
        FingerprintIndex.open(tmp_path / "index")
    about = json.loads((tmp_path / "index" / "index.json").read_text()) | {"format": "orfila-index/1"}
    (tmp_path / "index" / "index.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="this version reads orfila-index/3"):
        FingerprintIndex.open(tmp_path / "index")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_reading_a_store_leaves_little_of_it_in_memory(tmp_path: Path) -> None:
    """A store of 240 MB: queries, self-influence and suspects that are too many to hold take a small part of that."""
    n = 30_000
    rows = np.random.default_rng(0).standard_normal((2_000, 4_096)).astype(np.float32)
    layers = [IndexedLayer(f"layer-{k}", "conv2d", 16, 16, 256 * k, 100) for k in range(16)]
    writer = ShardWriter(tmp_path / "shard", 0, n, layers, IndexSpec(), "model")
    for _ in range(n // len(rows)):
        writer.add(torch.from_numpy(rows))
    writer.close(torch.zeros(n), [], "cpu")
    program = """
import sys
from pathlib import Path
import numpy as np
from orfila_engine.fingerprint import FingerprintIndex, reduce_shards
from orfila_engine.suspects import FingerprintSuspects

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

folder = Path(sys.argv[1])
reduce_shards([folder / "shard"], folder / "small")
before = peak()
reduce_shards([folder / "shard"], folder / "index")
index = FingerprintIndex.open(folder / "index")
index.influence(np.ones((51, 4_096), dtype=np.float32))
suspects = FingerprintSuspects(index.rows, index.self_influence, np.arange(0, index.n, 2), index.whitening, hold=0)
suspects.cosines(suspects.contrast(np.ones(index.n // 2, dtype=np.float32)))
print(before, peak(), peak_of_imports)
"""
    program = program.replace("folder = Path", "peak_of_imports = peak()\nfolder = Path")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    once, twice, imports = (int(v) * 1024 for v in done.stdout.split())
    assert once - imports < 100 * MEGA
    assert twice - once < 60 * MEGA


def test_the_benchmark_measures_and_reports(tmp_path: Path) -> None:
    result = scale.run(tmp_path, threads=1, sizes=(2_000, 4_000))
    small, large = result["sizes"]
    assert large["disk_gb"] - small["disk_gb"] == pytest.approx(2_000 * 4_096 * 2 / 1e9, rel=0.01)
    assert large["agrees with the truth"] > 0.98
    text = scale.page(result)
    assert "| 2,000 | 0.0" in text
    assert "of disk at the same bytes for each image" in text
    assert not list(tmp_path.iterdir())
