"""`python -m benchmarks`: run the sections that have no result yet, then write docs/benchmarks.md.

Each section's result is kept as JSON under bench-data/, so an interrupted run goes on where it stopped, and `--again`
measures a section anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import detection, page, speed
from orfila_engine.data import PackedDataset, resolve

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "bench-data"
THREADS = (1, 2)


def main() -> int:
    """Exit status 0 when every section has a result, 2 when there is no data."""
    arguments = _arguments()
    if not arguments.data.exists():
        print(f"{arguments.data} does not exist; give CIFAR-10 images by --data or ORFILA_BENCH_DATA", file=sys.stderr)
        return 2
    CACHE.mkdir(exist_ok=True)
    packed = resolve(arguments.data, CACHE / "packs")
    results: dict[str, dict[str, Any]] = {}
    for name, section in _sections(packed, arguments).items():
        stored = CACHE / f"{name}.json"
        wanted = not arguments.only or any(name.startswith(prefix) for prefix in arguments.only)
        if wanted and (arguments.again or not stored.is_file()):
            print(f"{name}: measuring", flush=True)
            work = CACHE / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            stored.write_text(json.dumps(section(work), indent=1))
            shutil.rmtree(work, ignore_errors=True)
        if stored.is_file():
            results[name] = json.loads(stored.read_text())
    text = page.write(results)
    arguments.out.write_text(text)
    print(text)
    return 0


def _sections(packed: PackedDataset, arguments: argparse.Namespace) -> dict[str, Callable[[Path], dict[str, Any]]]:
    """Section name -> what measures it, given a scratch directory."""
    n_images = min(arguments.images, packed.n_train)
    sections: dict[str, Callable[[Path], dict[str, Any]]] = {}
    for threads in THREADS:
        sections[f"speed-{threads}-threads-{n_images}-images"] = partial(
            speed.run,
            packed,
            threads=threads,
            rounds=arguments.rounds,
            # Once: it is the slow part, and the ratio hardly depends on the threads.
            peer=threads == THREADS[-1],
            n_images=n_images,
        )
    for seed in arguments.seeds:
        sections[f"detection-badnet-{arguments.epochs}-epochs-seed-{seed}"] = partial(
            detection.run, packed, attack="badnet", rate=0.02, seed=seed, epochs=arguments.epochs, repairs=("eu", "cf")
        )
    return sections


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    default = os.environ.get("ORFILA_BENCH_DATA", ROOT.parent / "shared" / "data" / "cifar10-12k.zip")
    parser.add_argument(
        "--data", type=Path, default=Path(default), help="CIFAR-10 images in class folders, or an archive"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the page to write")
    parser.add_argument("--only", nargs="*", default=[], help="sections that start with one of these names")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of each timing")
    parser.add_argument("--images", type=int, default=speed.N_IMAGES, help="training images of the timings")
    parser.add_argument("--epochs", type=int, default=20, help="training epochs of the detection runs")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1], help="seeds of the detection runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
