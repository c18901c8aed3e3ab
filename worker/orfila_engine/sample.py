"""The sample case: real pictures, a planted BadNet poison, a small trained model (`python -m orfila_engine.sample`).

Everything is made on the spot and can be uploaded like a user's own: data.zip (poisoned, class folders),
model.safetensors, affected.png, triggered.zip, and sample.json with the truth to check the finding against.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orfila_engine.architectures import save_model
from orfila_engine.attacks.badnet import BadNet
from orfila_engine.data import DataError, PackedDataset, pack
from orfila_engine.data.derive import write_zip
from orfila_engine.data.formats import open_source
from orfila_engine.data.sources import Arrays
from orfila_engine.drill import plant, triggered_test
from orfila_engine.evaluation import evaluate
from orfila_engine.progress import Progress
from orfila_engine.training import train

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""
MAX_TRAIN, MAX_TEST = 6_000, 1_500
MIN_PSR = 0.5
_TRIES = 3


def choose_source(data: Path | None) -> tuple[Path | Arrays, str]:
    """The pictures to use and their name: a given path, else Fashion-MNIST, else scikit-learn's digits (8 x 8)."""
    if data is not None:
        return data, data.stem
    if any(FASHION_MNIST.glob("train-images-idx3-ubyte*")):
        return FASHION_MNIST, "Fashion-MNIST"
    return digits(), "digits"


def digits() -> Arrays:
    """scikit-learn's 1,797 real digits of 8 x 8 pixels, grey; they come inside its wheel."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return Arrays(images[order], bunch.target[order].astype(np.int64), len(images) * 5 // 6, names)


def make_sample(data: Path | None, out_dir: Path, *, seed: int, device: str, progress: Progress) -> dict[str, Any]:
    """Make the sample case in `out_dir` and return what sample.json says.

    Raises DataError for pictures that cannot be used, ValueError when the poison does not take hold.
    """
    work = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    source, name = choose_source(data)
    progress(f"reading {name}", 0.0)
    clean = pack(_subset(source, work / "source", seed), work / "clean")
    # 2 % of 1,500 digits would be 30 images, too few for the poison to take hold with certainty.
    rate = 0.02 if clean.n_train >= MAX_TRAIN // 2 else 0.03
    planted, poisoned = plant(clean, BadNet(rate=rate), seed, work / "poisoned")
    write_zip(poisoned, work / "data.zip")
    packed = pack(work / "data.zip", work / "pack")
    assert planted.target is not None
    small = max(packed.pixels.shape[1:3]) < 28
    architecture = "resnet-nano" if small else "resnet-micro"
    images, labels = triggered_test(clean, planted)
    target = packed.classes.index(clean.classes[planted.target])
    for attempt in range(_TRIES):
        trained = train(
            architecture,
            packed,
            epochs=25 if small else 6,
            seed=seed + attempt,
            augment=False,
            device=device,
            progress=progress,
        )
        outcome = evaluate(trained.model, trained.card, images, labels, device=device)
        psr = float((outcome.predicted == target).mean())
        if psr >= MIN_PSR:
            break
    else:
        raise ValueError(
            f"the planted poison fools the model on only {psr:.0%} of the triggered pictures; use larger pictures"
        )
    save_model(work / "model.safetensors", trained.model, trained.card, trained.summary())
    best = int(np.argmax(np.where(outcome.predicted == target, outcome.confidence, -1)))
    Image.fromarray(images[best].squeeze()).save(work / "affected.png")
    _write_triggered(work, clean, images, labels, planted.target)
    described = {
        "name": name,
        "n_train": packed.n_train,
        "n_test": len(packed.test[1]),
        "architecture": architecture,
        "accuracy": evaluate(trained.model, trained.card, *packed.test, device=device).accuracy,
        "psr": psr,
        "source": None if planted.source is None else clean.classes[planted.source],
        "target": clean.classes[planted.target],
        "affected_label": clean.classes[int(labels[best])],
        "classes": list(packed.classes),
        "truth": planted.indices.tolist(),
    }
    for folder in ("source", "clean", "poisoned", "pack"):
        shutil.rmtree(work / folder, ignore_errors=True)
    (work / "sample.json").write_text(json.dumps(described))
    shutil.rmtree(out_dir, ignore_errors=True)
    work.rename(out_dir)
    return described


def _subset(source: Path | Arrays, scratch: Path, seed: int) -> Arrays:
    """At most MAX_TRAIN and MAX_TEST pictures, evenly over the classes."""
    rng = np.random.default_rng(seed)
    opened = source if isinstance(source, Arrays) else open_source(source)
    if not isinstance(opened, Arrays):
        packed = pack(opened, scratch)
        opened = Arrays(packed.pixels, packed.labels, packed.n_train, packed.classes)

    def choose(labels: NDArray[np.int64], first: int, limit: int) -> NDArray[np.int64]:
        each = max(1, limit // len(opened.names))
        groups = [np.flatnonzero(labels == c) for c in range(len(opened.names))]
        return np.sort(first + np.concatenate([rng.permutation(g)[:each] for g in groups]))

    n_train = opened.n_train
    train_rows = choose(opened.labels[:n_train], 0, MAX_TRAIN)
    rows = np.concatenate([train_rows, choose(opened.labels[n_train:], n_train, MAX_TEST)])
    return Arrays(opened.images[rows], opened.labels[rows], len(train_rows), opened.names)


def _write_triggered(
    work: Path, clean: PackedDataset, images: NDArray[np.uint8], labels: NDArray[np.int64], target: int
) -> None:
    """The triggered test pictures as a data set of its own.

    A data set needs two classes, so one clean picture of the target stands beside the victims; pictures that truly show
    the target do not count in the poison success rate.
    """
    pixels, true = clean.test
    extra = np.flatnonzero(true == target)[:1]
    stack, all_labels = np.concatenate([images, pixels[extra]]), np.concatenate([labels, true[extra]])
    present = sorted(set(all_labels.tolist()))
    source = Arrays(stack, np.searchsorted(present, all_labels), len(stack), tuple(clean.classes[c] for c in present))
    write_zip(pack(source, work / "triggered-pack"), work / "triggered.zip")
    shutil.rmtree(work / "triggered-pack")


def main() -> int:
    """Command line; one line of progress for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="pictures to use instead of Fashion-MNIST or digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    shown = ""

    def show(doing: str, share: float) -> None:
        nonlocal shown
        if doing != shown:
            print(f"{doing} ({share:.0%})", flush=True)
            shown = doing

    try:
        made = make_sample(chosen.data, chosen.out, seed=chosen.seed, device=chosen.device, progress=show)
    except (DataError, ValueError) as error:
        print(str(error), file=sys.stderr)
        return 2
    print(
        f"planted {len(made['truth'])} poisons in {made['n_train']:,} pictures; accuracy {made['accuracy']:.1%}, "
        f"poison success rate {made['psr']:.0%}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
