"""Does one affected image lead to the planted poison, and does the repair work? Everything as a user would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.speed import ARCHITECTURE
from orfila_engine.architectures import load_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.attacks import make
from orfila_engine.data import PackedDataset
from orfila_engine.drill import run as drill
from orfila_engine.investigation import Affected
from orfila_engine.unlearning import recipe_of, unlearn, verify


def run(
    packed: PackedDataset, work: Path, *, attack: str, rate: float, seed: int, epochs: int, repairs: tuple[str, ...]
) -> dict[str, Any]:
    """Plant, train, index, investigate one affected image, repair without what was flagged, and verify."""
    about = machine.describe()
    result = drill(packed, make(attack, rate=rate), out_dir=work, architecture=ARCHITECTURE, epochs=epochs, seed=seed)
    report: dict[str, Any] = {"machine": about, **result.report}
    path = work / "model.safetensors"
    model, card = load_model(path)
    metadata, _ = read_header(path)
    stored = np.load(work / "triggered.npz")
    picture = np.asarray(Image.open(work / "affected-0.png"), dtype=np.uint8)
    affected = [Affected(picture.reshape(*card.input_size, card.channels), "affected-0.png")]
    report["repairs"] = {}
    for method in repairs:
        flagged = result.investigation.flagged.tolist()
        fixed = unlearn(method, model, card, result.packed, flagged, recipe=recipe_of(metadata), seed=seed)  # type: ignore[arg-type]
        verified = verify(
            model,
            fixed.trained.model,
            card,
            result.packed,
            affected,
            triggered=stored["images"],
            target=result.planted.target,
        )
        report["repairs"][method] = {
            "psr_before": verified.psr_before,
            "psr_after": verified.psr_after,
            "accuracy_before": verified.before.accuracy,
            "accuracy_after": verified.after.accuracy,
            "healed": all(outcome.healed for outcome in verified.affected),
            "n_removed": fixed.n_removed,
            "seconds": round(fixed.seconds, 1),
        }
    return report
