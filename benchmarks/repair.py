"""What becomes of a model that is repaired without what a detector flags."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.cases import Case
from orfila_engine.training import Recipe
from orfila_engine.unlearning import unlearn, verify
from orfila_engine.unlearning.preview import RemovalPreview


def run(case: Case, removed: Sequence[int], method: str) -> dict[str, Any]:
    """Repair and verify: poison success rate and accuracy before and after; is the affected image healed?"""
    if not removed:
        return {"skipped": "nothing is flagged"}
    model, card = case.loaded
    preview = RemovalPreview(case.index, case.packed, model, card, [case.affected], case.recipe or Recipe())
    began = time.perf_counter()
    expected = preview.of(removed)[0]
    preview_seconds = time.perf_counter() - began
    try:
        fixed = unlearn(method, model, card, case.packed, removed, recipe=case.recipe, index=case.index)  # type: ignore[arg-type]
    except ValueError as reason:
        return {"skipped": str(reason)}
    images, _ = case.triggered
    verified = verify(model, fixed.model, card, case.packed, [case.affected], triggered=images, target=case.predicted)
    return {
        "method": method,
        "n_removed": fixed.n_removed,
        "n_poison_removed": len(set(removed) & set(case.truth.tolist())),
        "psr_before": verified.psr_before,
        "psr_after": verified.psr_after,
        "accuracy_before": verified.before.accuracy,
        "accuracy_after": verified.after.accuracy,
        "n_changed": len(verified.changed),
        "healed": all(outcome.healed for outcome in verified.affected),
        "margin_before": verified.affected[0].before_margin,
        "margin_expected": expected.predicted_margin,
        "margin_after": verified.affected[0].after_margin,
        "preview_seconds": round(preview_seconds, 3),
        "seconds": round(fixed.seconds, 1),
        "settings": {name: str(value) for name, value in fixed.settings.items()},
    }
