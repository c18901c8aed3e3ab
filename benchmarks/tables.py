"""Small parts of the page: tables, means with their spread, verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def spread(values: Iterable[float | None], digits: int = 3) -> str:
    """Mean ± standard deviation of the values that are there; a dash without any, no deviation for one alone."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    text = f"{statistics.fmean(known):,.{digits}f}"
    return text if len(known) == 1 else f"{text} ± {statistics.stdev(known):,.{digits}f}"


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there."""
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if known else None


def verdict(met: bool) -> str:
    """A target that is missed is printed as missed."""
    return "met" if met else "**missed**"
