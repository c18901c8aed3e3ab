"""Does one affected image lead to the planted poison? Our answer and every other detector's, against the truth."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.cases import Case
from orfila_engine import detectors
from orfila_engine.comparison import compare
from orfila_engine.investigation import investigate


def run(case: Case, settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Investigate the affected image and run all detectors.

    settings: of detectors by name, where they are not the published ones. Spectral Signatures is told the true share
    of poison in the affected label, which a user would have to guess.
    """
    if not case.about["n_fooled"]:
        return {"about": case.about, "skipped": "the poison fools the model on no test image"}
    evidence = case.evidence()
    share = len(case.truth) / int((evidence.labels == case.predicted).sum())
    told = {"spectral-signatures": {"expected_share": min(share, 0.99)}} | settings
    chosen = [detectors.make(name, **told.get(name, {})) for name in detectors.names()]
    result = compare(evidence, chosen, case.truth.tolist())
    found = investigate(
        case.index, case.packed, *case.loaded, [case.affected], out_dir=case.work / "investigation",
        calibration=case.calibration,
    )  # fmt: skip
    return {
        "about": case.about,
        "evidence": found.summary["evidence"],
        "estimated": {"precision": found.summary["precision"], "recall": found.summary["recall"]},
        "n_label": result.n_label,
        "n_poison": result.n_poison,
        "rows": [asdict(row) for row in result.rows],
        "shared_seconds": result.shared_seconds,
        "flagged": {name: answer.flagged.tolist() for name, answer in result.answers.items()},
    }
