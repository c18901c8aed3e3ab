"""What the sweep says of a model when nobody points at an affected image."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case
from orfila_engine.sweep import SweepResult, sweep


def sweep_case(case: Case) -> SweepResult:
    """The sweep over all classes of a case."""
    return sweep(case.index, case.packed, *case.loaded)


def run(case: Case) -> dict[str, Any]:
    """Which classes are accused, and how right the flagged images of the poisoned class are."""
    result = sweep_case(case)
    poisoned = case.about.get("target")
    flagged = {c.name: set(c.flagged.tolist()) for c in result.accused}
    found = flagged.get(poisoned, set())
    truth = case.poison_of(poisoned) if poisoned is not None else set()
    return {
        "poisoned": poisoned,
        "accused": list(flagged),
        "suspected": [c.name for c in result.classes if c.evidence.level == "usual"],
        "p_values": {c.name: c.evidence.p_value for c in result.classes},
        "n_flagged": {name: len(indices) for name, indices in flagged.items()},
        "precision": len(found & truth) / len(found) if found else None,
        "recall": len(found & truth) / len(truth) if truth else None,
        "seconds": result.seconds,
    }
