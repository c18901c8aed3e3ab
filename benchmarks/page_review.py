"""The page's section on review: verdicts that each order of the images needs."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.page_detection import Results
from benchmarks.tables import table

_GOALS = ("judged", "flagged", "certified")


def review(results: Results) -> str:
    """Verdicts to each goal, by case and order."""
    rows = []
    for name, result in results.items():
        if not name.startswith("review ") or "skipped" in result:
            continue
        for order, runs in result["orders"].items():
            rows.append(
                [
                    name.removeprefix("review "),
                    f"{result['n_poison']:,} of {result['n_suspects']:,}",
                    order,
                    *(_verdicts(runs, goal) for goal in _GOALS),
                    f"{sum(run.get('held', False) for run in runs)} of {sum('held' in run for run in runs)}",
                ]
            )
    if not rows:
        return ""
    header = [
        "case",
        "poison among the suspects",
        "order",
        "95 % of the poisons judged",
        "95 % of them flagged",
        "precision certified to ±.05",
        "interval held the truth",
    ]
    return "\n".join(
        [
            "## Verdicts that a review needs",
            "",
            "A reviewer who is always right; after each ten verdicts the scores learn. Median number of verdicts over "
            "three draws. Flagged: the flagged set holds 95 % of the poisons and is poison to 95 %, as it often is "
            "before anybody has looked. Certified: the 95 % interval of the precision is at most .1 wide.",
            "",
            table(header, rows),
            "",
        ]
    )


def _verdicts(runs: list[dict[str, Any]], goal: str) -> str:
    reached = [run[goal] for run in runs if goal in run]
    if not reached:
        return "never"
    text = f"{median(reached):,.0f}"
    return text if len(reached) == len(runs) else f"{text} ({len(reached)} of {len(runs)} draws)"
