"""`python -m benchmarks`: measure the pieces that have no result yet, then write docs/benchmarks.md.

Results, trained models and indexes are kept under bench-data/, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks import page, pieces
from benchmarks.pieces import Piece, Place
from benchmarks.plan import FULL, QUICK, Plan
from orfila_engine.data import PackedDataset, pack, resolve
from orfila_engine.data.sources import Arrays

ROOT = Path(__file__).resolve().parent.parent
N_DIGITS_TRAIN = 1_400


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when every piece that was asked for has a result, 1 when one failed, 2 when there is no data."""
    asked = _arguments(arguments)
    plan: Plan = QUICK if asked.quick else FULL
    try:
        packed = _digits(asked.work) if asked.quick else _given(asked.data, asked.work)
    except ValueError as error:
        print(f"{error}; give CIFAR-10 images by --data or ORFILA_BENCH_DATA", file=sys.stderr)
        return 2
    place = Place(packed.path, asked.work, asked.bank)
    # The timings want a quiet machine and minutes; the quick form is there to see that everything runs.
    wanted = pieces.pieces(plan, place, with_speed=not asked.quick)
    chosen = [p for p in wanted if not asked.only or any(p.name.startswith(start) for start in asked.only)]
    todo = pieces.missing(chosen, place, again=asked.again)
    failed = pieces.run(todo, place, jobs=asked.jobs, threads=asked.threads, say=lambda text: print(text, flush=True))
    _write(plan, place, wanted, asked.out, packed)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _write(plan: Plan, place: Place, wanted: list[Piece], out: Path, packed: PackedDataset) -> None:
    stored = {piece.name: kept for piece in wanted if (kept := pieces.stored(place, piece)) is not None}
    absent = [piece.name for piece in wanted if piece.name not in stored]
    kind = "CIFAR-10 (Krizhevsky 2009)" if plan is FULL else "scikit-learn's digits, a quick form that must only run"
    counts = f"{packed.n_train:,} training and {len(packed.labels) - packed.n_train:,} test images"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page.write(stored, plan, f"Real images: {kind}, {counts}.", absent))
    print(f"{out}: {len(stored)} of {len(wanted)} pieces")


def _given(data: Path, work: Path) -> PackedDataset:
    return resolve(data, work / "packs")


def _digits(work: Path) -> PackedDataset:
    """1,400 training and 397 test images of 8 x 8, from scikit-learn's wheel."""
    path = work / "packs" / "digits"
    if (path / "meta.json").is_file():
        return PackedDataset.open(path)
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    names = tuple(f"digit {k}" for k in range(10))
    path.parent.mkdir(parents=True, exist_ok=True)
    return pack(Arrays(images[order], labels[order], N_DIGITS_TRAIN, names), path)


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    data = os.environ.get("ORFILA_BENCH_DATA", ROOT.parent / "shared" / "data" / "cifar10-12k.zip")
    # One process for each core beats one process with all of them, as long as no GPU does the work.
    cuda = torch.cuda.is_available()
    cores = os.cpu_count() or 1
    parser.add_argument("--data", type=Path, default=Path(data), help="CIFAR-10 images in class folders, or an archive")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the page to write")
    parser.add_argument("--work", type=Path, default=ROOT / "bench-data", help="results, models and indexes")
    parser.add_argument("--bank", type=Path, help="trained cases, LABEL-SEED each, to use instead of training them")
    parser.add_argument("--only", nargs="*", default=[], help="pieces that start with one of these names")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    parser.add_argument("--quick", action="store_true", help="small data and one seed: only to see that it runs")
    parser.add_argument("--jobs", type=int, default=1 if cuda else min(cores, 4), help="processes side by side")
    parser.add_argument("--threads", type=int, default=cores if cuda else 1, help="threads of each")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
