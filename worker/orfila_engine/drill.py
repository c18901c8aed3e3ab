"""Drills: plant a known poison, train on it, investigate a triggered image, and score the finding against the truth."""

from __future__ import annotations

import csv
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score

from orfila_engine.architectures import save_model
from orfila_engine.attacks import Attack, Planted
from orfila_engine.data import PackedDataset, pack
from orfila_engine.data.derive import Replaced
from orfila_engine.evaluation import evaluate
from orfila_engine.fingerprint import build_index
from orfila_engine.investigation import Affected, Investigation, investigate
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.training import train

MIN_PSR = 0.5
"""Below this the planted poison did not take hold, and there is little to find."""


@dataclass(frozen=True)
class Detection:
    """A flagged set against the truth."""

    n_poison: int
    n_flagged: int
    precision: float
    recall: float


@dataclass(frozen=True)
class DrillResult:
    """A finished drill: everything it made lies in `path`."""

    path: Path
    planted: Planted
    packed: PackedDataset
    investigation: Investigation
    report: dict[str, Any]


def plant(packed: PackedDataset, attack: Attack, seed: int, out_dir: Path) -> tuple[Planted, PackedDataset]:
    """Poison a data set into a new pack at `out_dir`. Names, order and the test images stay as they are."""
    images, labels = packed.train
    planted = attack.plant(images, labels, len(packed.classes), seed)
    shutil.rmtree(out_dir, ignore_errors=True)
    return planted, pack(Replaced(packed, planted.indices, planted.images, planted.labels), out_dir)


def triggered_test(packed: PackedDataset, planted: Planted) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The victims among the test images with the trigger on them [V, H, W, C], and their true labels [V]."""
    pixels, labels = packed.test
    victims = planted.victims(labels)
    return planted.trigger(np.array(pixels[victims])), labels[victims]


def detection(truth: NDArray[np.int64], flagged: NDArray[np.int64]) -> Detection:
    """Precision and recall of flagged indices against the truth; precision is nan when nothing is flagged."""
    hits = len(np.intersect1d(truth, flagged))
    precision = hits / len(flagged) if len(flagged) else float("nan")
    return Detection(len(truth), len(flagged), precision, hits / len(truth))


def run(
    packed: PackedDataset,
    attack: Attack,
    *,
    out_dir: Path,
    architecture: str,
    epochs: int,
    seed: int = 0,
    n_affected: int = 1,
    n_b: int = 50,
    device: str = "auto",
    progress: Progress = quiet,
) -> DrillResult:
    """Run a whole drill and write it to `out_dir`.

    data/ the poisoned pack · truth.csv · model.safetensors · affected-N.png · triggered.npz · index/ · investigation/ ·
    drill.json. No augmentation: it keeps a planted patch from taking hold within few epochs.

    Raises ValueError when the attack does not fit the data, or no triggered test image is misclassified as the target.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    progress("planting the poison", 0.0)
    planted, poisoned = plant(packed, attack, seed, out_dir / "data")
    _write_truth(out_dir / "truth.csv", poisoned, planted)
    trained = train(
        architecture,
        poisoned,
        epochs=epochs,
        seed=seed,
        augment=False,
        device=device,
        progress=part(progress, 0.02, 0.6),
    )
    model, card = trained.model, trained.card
    save_model(out_dir / "model.safetensors", model, card, trained.summary())
    images, labels = triggered_test(packed, planted)
    outcome = evaluate(model, card, images, labels, device=device)
    fooled = np.flatnonzero(outcome.predicted == planted.target)
    psr = len(fooled) / max(1, len(images))
    if len(fooled) == 0:
        raise ValueError(
            "the planted poison fools the model on no test image; train longer, or use a higher rate or another attack"
        )
    np.savez_compressed(out_dir / "triggered.npz", images=images, labels=labels)
    affected = []
    for number, row in enumerate(fooled[np.argsort(-outcome.confidence[fooled])][:n_affected].tolist()):
        name = f"affected-{number}.png"
        Image.fromarray(images[row].squeeze()).save(out_dir / name)
        affected.append(Affected(images[row], name, int(labels[row])))

    index = build_index(
        model,
        card,
        *poisoned.train,
        out_dir / "index",
        device=device,
        data_digest=poisoned.digest,
        progress=part(progress, 0.6, 0.8),
    )
    found = investigate(
        index,
        poisoned,
        model,
        card,
        affected,
        out_dir=out_dir / "investigation",
        n_b=n_b,
        seed=seed,
        progress=part(progress, 0.8, 1.0),
    )
    report = _report(poisoned, planted, found) | {
        "attack": planted.attack,
        "source": None if planted.source is None else packed.classes[planted.source],
        "target": packed.classes[planted.target],
        "rate": len(planted.indices) / packed.n_train,
        "seed": seed,
        "poison_success_rate": psr,
        "took_hold": psr >= MIN_PSR,
        "accuracy": evaluate(model, card, *packed.test, device=device).accuracy,
        "architecture": architecture,
        "epochs": epochs,
        "evidence": found.summary["evidence"],
        "seconds": round(time.perf_counter() - began, 2),
    }
    (out_dir / "drill.json").write_text(json.dumps(report, indent=1))
    return DrillResult(out_dir, planted, poisoned, found, report)


def _report(poisoned: PackedDataset, planted: Planted, found: Investigation) -> dict[str, Any]:
    """Both rules against the truth, and average precision of the scores."""
    columns = ["collapse_score", "flagged_paper", "suspect"]
    table = pq.read_table(found.path / "scores.parquet", columns=columns)
    truth = np.zeros(poisoned.n_train, dtype=bool)
    truth[planted.indices] = True
    suspect = table["suspect"].to_numpy()
    score = np.where(suspect, table["collapse_score"].to_numpy(), -2.0)
    paper = np.flatnonzero(table["flagged_paper"].to_numpy())
    return {
        "collapse_rule": asdict(detection(planted.indices, found.flagged)),
        "paper_rule": asdict(detection(planted.indices, paper)),
        "average_precision": float(average_precision_score(truth, score)),
    }


def _write_truth(path: Path, poisoned: PackedDataset, planted: Planted) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "index", "label"])
        for index, label in zip(planted.indices.tolist(), planted.labels.tolist(), strict=True):
            writer.writerow([poisoned.names[index], index, poisoned.classes[label]])
