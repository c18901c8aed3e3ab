"""What the index's store costs as the training set grows: disk, memory and seconds at 10,000 to 1,000,000 images.

The projected gradients are synthetic, for a real pass over a million images takes as long as an epoch: rows of 16
layers, coordinates of unequal spread, lengths over four orders of magnitude, and one class of ten with a twentieth of
poison. All that follows is the product's own code: shards, reduction, 51 queries, and the refit after a verdict. Each
size runs in a process of its own, so that its peak of resident memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import machine
from orfila_engine.collapse import collapse
from orfila_engine.fingerprint import FingerprintIndex, IndexSpec, ShardWriter, reduce_shards
from orfila_engine.gradients import IndexedLayer
from orfila_engine.mark import N_BANDS, Pictures
from orfila_engine.questions import MAX_COUNTERPARTS

SIZES = (10_000, 50_000, 100_000, 1_000_000)
N_LAYERS = 16
DIMENSION = N_LAYERS * 256
N_CLASSES = 10
N_QUERIES = 51
SHARD_IMAGES = 50_000
LARGEST = 1_280_000
DISK_LIMIT = 12.0
"""GB, at LARGEST images."""
MEMORY_LIMIT = 2.0
"""GB"""
REFIT_LIMIT = 1.0
"""Seconds, at 50,000 images."""
_ROOT = Path(__file__).resolve().parent.parent
_ADDED = 1_024
_GIGA = 1e9


def run(work: Path, *, threads: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Measure every size for which the folder's disk has room, one after another. Returns a row for each."""
    about = machine.describe()
    rows, left_out = [], []
    for n in sizes:
        if shutil.disk_usage(work).free < 1.3 * n * DIMENSION * 2:
            left_out.append(n)
            continue
        command = [sys.executable, "-m", "benchmarks.scale", "--images", str(n), "--threads", str(threads)]
        command += ["--work", str((work / f"scale-{n}").resolve())]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=_ROOT)
        rows.append(json.loads(done.stdout))
    return {"machine": about, "threads": threads, "dimension": DIMENSION, "sizes": rows, "no room for": left_out}


def page(result: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md."""
    lines = [
        "## Scale of the index",
        "",
        f"Synthetic projected gradients of {result['dimension']:,} numbers, float16, in shards of {SHARD_IMAGES:,} "
        f"images; {_threads(result['threads'])}. Suspects: a class of ten. Refit: after one verdict more, with "
        "counterparts and the search for a shared mark, the suspects "
        "in memory, as in a worker, which keeps the index open. Peak memory: resident, of the whole process with "
        "torch, from the first shard to the last refit; at rest: after the imports alone.",
        "",
        "| images | disk, GB | write, s | reduce, s | 51 queries, s (not cached) | suspects | read suspects, s | "
        "refit, s | peak memory, GB (at rest) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in result["sizes"]:
        s = r["seconds"]
        lines.append(
            f"| {r['images']:,} | {r['disk_gb']:.2f} | {s['write']:.1f} | {s['reduce']:.1f} | "
            f"{s['51 queries']:.2f} ({s['51 queries, not cached']:.2f}) | {r['suspects']:,} | "
            f"{s['read suspects']:.2f} | {s['refit']:.2f} | {r['peak_memory_gb']:.2f} ({r['memory_at_rest_gb']:.2f}) |"
        )
    for n in result["no room for"]:
        lines.append(f"| {n:,} | no room on this disk | | | | | | | |")
    return "\n".join([*lines, "", *_targets(result["sizes"]), "", *_machine(result["machine"]), ""])


def _targets(rows: list[dict[str, Any]]) -> list[str]:
    largest = rows[-1]
    disk = largest["disk_gb"] * LARGEST / largest["images"]
    lines = [
        f"- {LARGEST:,} images take {disk:.2f} GB of disk at the same bytes for each image, the building included "
        f"(target <= {DISK_LIMIT:.0f}): {_verdict(disk <= DISK_LIMIT)}",
        f"- peak memory {max(r['peak_memory_gb'] for r in rows):.2f} GB (target <= {MEMORY_LIMIT:.0f}): "
        f"{_verdict(max(r['peak_memory_gb'] for r in rows) <= MEMORY_LIMIT)}",
    ]
    lines += [
        f"- refit at {r['images']:,} images {r['seconds']['refit']:.2f} s (target < {REFIT_LIMIT:.0f}): "
        f"{_verdict(r['seconds']['refit'] < REFIT_LIMIT)}"
        for r in rows
        if r["images"] == 50_000
    ]
    each = ", ".join(f"{1e6 * _linear(r) / r['images']:.0f}" for r in rows)
    return [*lines, f"- write, reduce and 51 queries together, microseconds for each image, by size: {each}"]


def _linear(row: dict[str, Any]) -> float:
    return sum(float(row["seconds"][name]) for name in ("write", "reduce", "51 queries"))


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _machine(about: dict[str, str]) -> list[str]:
    return [f"- {name}: {value}" for name, value in about.items()]


def measure(n: int, work: Path) -> dict[str, Any]:
    """One size in this process: build, ask, refit; then remove the files."""
    rest = _peak_memory()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    seconds: dict[str, float] = {}
    labels = np.arange(n) % N_CLASSES
    try:
        shards, seconds["write"] = _write(n, work)
        began = time.perf_counter()
        reduce_shards(shards, work / "index")
        seconds["reduce"] = time.perf_counter() - began
        disk = _disk(work)
        for shard in shards:
            shutil.rmtree(shard)
        began = time.perf_counter()
        index = FingerprintIndex.open(work / "index")
        seconds["open"] = time.perf_counter() - began

        queries = np.random.default_rng(1).standard_normal((N_QUERIES, DIMENSION)).astype(np.float32)
        _drop_cache(work / "index")
        for name in ("51 queries, not cached", "51 queries"):
            began = time.perf_counter()
            index.influence(queries)
            seconds[name] = time.perf_counter() - began

        began = time.perf_counter()
        suspects = index.suspects(np.flatnonzero(labels == 0))
        seconds["read suspects"] = time.perf_counter() - began
        direction = suspects.contrast(np.where(_is_poison(suspects.indices), 1.0, 0.0).astype(np.float32))
        noise = np.random.default_rng(2).standard_normal(DIMENSION).astype(np.float32)
        direction = direction + 2 * noise / np.linalg.norm(noise)
        direction /= np.linalg.norm(direction)
        clean, pictures = _beside(suspects.indices)
        taken = []
        for verdicts in range(3):
            began = time.perf_counter()
            refitted = index.suspects(np.flatnonzero(labels == 0))
            found = collapse(
                refitted,
                direction,
                counterparts=lambda v: np.asarray(clean @ v, dtype=np.float32),
                pictures=pictures,
                confirmed_poison=suspects.indices[:verdicts].tolist(),
            )
            taken.append(time.perf_counter() - began)
        seconds["refit"] = min(taken)
        flagged = found.posterior > 0.9
        return {
            "images": n,
            "disk_gb": disk / _GIGA,
            "suspects": len(suspects.indices),
            "agrees with the truth": float((flagged == _is_poison(suspects.indices)).mean()),
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
            "peak_memory_gb": round(_peak_memory(), 3),
            "memory_at_rest_gb": round(rest, 3),
        }
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(n: int, work: Path) -> tuple[list[Path], float]:
    """Synthetic shards, and the seconds that writing them took without making the rows."""
    layers = [IndexedLayer(f"layer-{k}", "conv2d", 16, 16, 256 * k, 2_304) for k in range(N_LAYERS)]
    shards, taken = [], 0.0
    for start in range(0, n, SHARD_IMAGES):
        stop = min(start + SHARD_IMAGES, n)
        shards.append(work / f"shard-{start:09d}")
        writer = ShardWriter(shards[-1], start, stop, layers, IndexSpec(), model="synthetic")
        for block in _rows(start, stop):
            began = time.perf_counter()
            writer.add(block)
            taken += time.perf_counter() - began
        began = time.perf_counter()
        writer.close(torch.zeros(stop - start), [], "cpu")
        taken += time.perf_counter() - began
    return shards, taken


def _rows(start: int, stop: int) -> Iterator[Tensor]:
    """Projected gradients of images start .. stop - 1, in blocks [m, D]: sums of two rows of a pool, for speed."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.exp(torch.randn(DIMENSION, generator=generator))
    pool = torch.randn(4_096, DIMENSION, generator=generator) * spread
    poison = torch.randn(DIMENSION, generator=generator) * spread * 0.6
    for low in range(start, stop, _ADDED):
        images = torch.arange(low, min(low + _ADDED, stop))
        generator.manual_seed(low)
        one, two = torch.randint(len(pool), (2, len(images)), generator=generator)
        lengths = torch.pow(10.0, 4 * torch.rand(len(images), 1, generator=generator) - 4)
        carries = torch.from_numpy(_is_poison(images.numpy()))[:, None]
        yield (pool[one] + pool[two] + carries * poison) * lengths


def _beside(suspects: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], Pictures]:
    """Unit gradients [T, D] of clean test images, and spectra in which half of the poison carries a mark."""
    rng = np.random.default_rng(3)
    clean = rng.standard_normal((MAX_COUNTERPARTS, DIMENSION)).astype(np.float32)
    clean /= np.linalg.norm(clean, axis=1, keepdims=True)
    shown, theirs = (rng.standard_normal((n, 3 * N_BANDS)).astype(np.float32) for n in (len(suspects), len(clean)))
    shown[_is_poison(suspects) & (rng.random(len(suspects)) < 0.5), -1] += 5
    return clean, Pictures(shown, theirs)


def _is_poison(indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One in twenty images of class 0."""
    poisoned: np.ndarray[Any, Any] = indices % (20 * N_CLASSES) == 0
    return poisoned


def _disk(folder: Path) -> int:
    """Bytes below a folder; a file with several names counts once."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({s.st_ino: s.st_size for s in files}.values())


def _drop_cache(folder: Path) -> None:
    """Tell the system to forget the files' cached pages (they are on the disk already)."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _peak_memory() -> float:
    """Peak of this process's resident memory in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIGA


def main() -> None:
    """Measure one size and print it as JSON: what `run` starts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True, help="a scratch folder, emptied")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(measure(arguments.images, arguments.work)))


if __name__ == "__main__":
    main()
