"""What the sweep says of a model when nobody points at an affected image."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.cases import Case


def sweep_case(case: Case) -> Any:
    """The sweep over all classes of a case."""
    from orfila_engine.sweep import sweep

    return sweep(case.index, case.packed, *case.loaded)


def run(case: Case) -> dict[str, Any]:
    """Which classes are accused, and how right the flagged images of the poisoned class are."""
    began = time.perf_counter()
    result = sweep_case(case)
    seconds = time.perf_counter() - began
    poisoned = case.about.get("target") if case.about else None
    return {"poisoned": poisoned, "seconds": round(seconds, 2), "result": str(result)}
