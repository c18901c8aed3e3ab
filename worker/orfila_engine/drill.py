"""Drills: plant a known poison, train on it, investigate a victim, and score the finding against the truth."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from orfila_engine.attacks import Attack, Planted, WitchesBrew
from orfila_engine.data import PackedDataset
from orfila_engine.finding import ranks
from orfila_engine.fingerprint import FingerprintIndex, build_index
from orfila_engine.investigation import Investigation, investigate
from orfila_engine.planting import PoisonedModel, plant, plant_and_train, triggered_test
from orfila_engine.progress import Progress, part, quiet


@dataclass(frozen=True)
class Detection:
    """A flagged set against the truth."""

    n_poison: int
    n_flagged: int
    precision: float | None
    """None when nothing is flagged."""
    recall: float | None
    """None when there is nothing to find."""


@dataclass(frozen=True)
class DrillResult:
    """A finished drill: everything it made lies in `path`."""

    path: Path
    planted: Planted
    packed: PackedDataset
    investigation: Investigation
    report: dict[str, Any]


def detection(truth: NDArray[np.int64], flagged: NDArray[np.int64]) -> Detection:
    """Precision and recall of flagged indices against the truth."""
    hits = len(np.intersect1d(truth, flagged))
    return Detection(
        len(truth),
        len(flagged),
        hits / len(flagged) if len(flagged) else None,
        hits / len(truth) if len(truth) else None,
    )


def run(
    packed: PackedDataset,
    attack: Attack | WitchesBrew,
    *,
    out_dir: Path,
    architecture: str,
    epochs: int,
    seed: int = 0,
    augment: bool | None = None,
    n_affected: int = 1,
    n_b: int = 50,
    device: str = "auto",
    progress: Progress = quiet,
) -> DrillResult:
    """Run a whole drill and write it to `out_dir`: what `plant_and_train` writes, index/, investigation/, drill.json.

    Raises ValueError when the attack does not fit the data, or no victim among the test images is fooled.
    """
    made = plant_and_train(
        packed,
        attack,
        out_dir=out_dir,
        architecture=architecture,
        epochs=epochs,
        seed=seed,
        augment=augment,
        n_affected=n_affected,
        device=device,
        progress=part(progress, 0.0, 0.6),
    )
    return investigate_planted(
        made, n_affected=n_affected, n_b=n_b, seed=seed, device=device, progress=part(progress, 0.6, 1.0)
    )


def investigate_planted(
    made: PoisonedModel,
    *,
    index: FingerprintIndex | None = None,
    n_affected: int = 1,
    n_b: int = 50,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = quiet,
) -> DrillResult:
    """The second half of a drill: index, investigation, and the score against the truth, beside the trained model.

    index: of the trained model over the poisoned data; built now by default.
    Raises ValueError when no victim among the test images is fooled.
    """
    began = time.perf_counter()
    affected = made.affected(n_affected)
    if index is None:
        index = build_index(
            made.model,
            made.card,
            *made.packed.train,
            made.path / "index",
            device=device,
            data_digest=made.packed.digest,
            progress=part(progress, 0.0, 0.5),
        )
    found = investigate(
        index,
        made.packed,
        made.model,
        made.card,
        affected,
        out_dir=made.path / "investigation",
        n_b=n_b,
        seed=seed,
        progress=part(progress, 0.5, 1.0),
    )
    outcome = {k: v for k, v in made.about.items() if k not in ("format", "settings")}
    settings = {k: made.about["settings"][k] for k in ("architecture", "epochs", "seed", "augment")}
    report = _report(made, found) | outcome | settings | {"evidence": found.summary["evidence"]}
    report["seconds"] = round(made.about["seconds_of_training"] + time.perf_counter() - began, 2)
    (made.path / "drill.json").write_text(json.dumps(report, indent=1))
    return DrillResult(made.path, made.planted, made.packed, found, report)


def _report(made: PoisonedModel, found: Investigation) -> dict[str, Any]:
    """Both rules against the truth, and average precision of the ranking.

    The truth is the poison behind the label that the affected image receives: all of it, but for random label flips.
    """
    names = ["collapse_score", "posterior", "flagged_paper", "suspect"]
    table = pq.read_table(found.path / "scores.parquet", columns=names)
    columns = {name: table[name].to_numpy() for name in names}
    behind = made.planted.behind(found.summary["predicted"])
    truth = np.zeros(made.packed.n_train, dtype=bool)
    truth[behind] = True
    paper = np.flatnonzero(columns["flagged_paper"])
    return {
        "collapse_rule": asdict(detection(behind, found.flagged)),
        "paper_rule": asdict(detection(behind, paper)),
        "average_precision": float(average_precision_score(truth, ranks(columns))) if truth.any() else None,
    }


__all__ = [
    "Detection",
    "DrillResult",
    "PoisonedModel",
    "detection",
    "investigate_planted",
    "plant",
    "plant_and_train",
    "run",
    "triggered_test",
]
