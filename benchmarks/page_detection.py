"""The page's sections on detection: targets, attacks, and the table of attacks by detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.plan import AttackPlan, Plan
from benchmarks.tables import mean, spread, table, verdict
from orfila_engine import detectors

Results = dict[str, dict[str, Any]]
"""Result of each piece that has one, by the piece's name."""
OURS = "collapse"


def of_attack(results: Results, plan: Plan, attack: AttackPlan) -> list[dict[str, Any]]:
    """Detection results of an attack over the seeds, those without a fooled image included."""
    names = [f"detection {attack.label}-{seed}" for seed in plan.seeds]
    return [results[name] for name in names if name in results]


def counted(found: Sequence[dict[str, Any]], attack: AttackPlan) -> list[dict[str, Any]]:
    """Those in which the attack succeeded."""
    return [r for r in found if "skipped" not in r and r["about"]["poison_success_rate"] >= attack.least_psr]


def row_of(result: dict[str, Any], detector: str) -> dict[str, Any] | None:
    """A detector's row in one result."""
    return next((row for row in result["rows"] if row["detector"] == detector), None)


def figures(results: Sequence[dict[str, Any]], detector: str, level: str, name: str) -> list[float | None]:
    """One figure of a detector over the results. level: all_classes or label."""
    rows = [row_of(r, detector) for r in results]
    return [row[level][name] if row is not None and row[level] is not None else None for row in rows]


def attacks(results: Results, plan: Plan) -> str:
    """How well every attack took hold."""
    rows = []
    for attack in plan.attacks:
        found = of_attack(results, plan, attack)
        if not found:
            continue
        abouts = [r["about"] for r in found]
        verdicts = [
            f"{r['evidence']['verdict']} (p = {r['evidence']['p_value']:.3f})" for r in found if "evidence" in r
        ]
        rows.append(
            [
                attack.label,
                f"{attack.rate:.1%}",
                str(abouts[0]["n_poison"]),
                str(abouts[0]["settings"]["epochs"]),
                spread([a["poison_success_rate"] for a in abouts]),
                spread([a["accuracy"] for a in abouts]),
                f"{len(counted(found, attack))} of {len(found)}",
                "; ".join(verdicts) or "-",
            ]
        )
    header = ["attack", "rate", "poisons", "epochs", "PSR", "accuracy", "succeeded", "evidence, each seed"]
    return "\n".join(
        [
            "## Attacks",
            "",
            "PSR, poison success rate: share of the victims among the test images that receive the target label. An "
            "attack succeeds in a seed when its PSR is at least .5 (warp .8, label flip any); Witches' Brew has one "
            "victim. Only successful seeds count below.",
            "",
            table(header, rows),
            "",
        ]
    )


def targets(results: Results, plan: Plan) -> list[list[str]]:
    """Rows of the target table: what the collapse rule must reach."""
    rows = []
    for attack in plan.attacks:
        if attack.target is None:
            continue
        found = counted(of_attack(results, plan, attack), attack)
        precision = mean(figures(found, OURS, "all_classes", "precision"))
        recall = mean(figures(found, OURS, "all_classes", "recall"))
        wanted = f"precision >= {attack.target[0]:.2f}, recall >= {attack.target[1]:.2f}"
        if precision is None or recall is None:
            rows.append([f"{attack.label}: automatic set", wanted, f"{len(found)} successful seeds", "not measured"])
            continue
        met = precision >= attack.target[0] and recall >= attack.target[1]
        reached = f"{precision:.3f} / {recall:.3f} over {len(found)} seeds"
        rows.append([f"{attack.label}: automatic set", wanted, reached, verdict(met)])
    return rows


def comparison(results: Results, plan: Plan) -> str:
    """Attacks by detectors, over all classes and within the affected label."""
    rows = []
    for attack in plan.attacks:
        found = counted(of_attack(results, plan, attack), attack)
        if not found:
            continue
        for name in detectors.names():
            named = [row for row in (row_of(r, name) for r in found) if row is not None]
            if not named:
                continue
            cells = [attack.label, named[0]["title"]]
            for level in ("all_classes", "label"):
                cells.append(spread(figures(found, name, level, "n_flagged"), 0))
                cells += [
                    spread(figures(found, name, level, figure))
                    for figure in ("precision", "recall", "average_precision")
                ]
            rows.append([*cells, spread([row["seconds"] for row in named], 1)])
    parts = ["flagged", "precision", "recall", "AP"]
    header = ["attack", "detector", *(f"{p}, all" for p in parts), *(f"{p}, label" for p in parts), "seconds"]
    return "\n".join(
        [
            "## Attacks by detectors",
            "",
            "Every detector starts from the same model, data and one affected image. *All*: its answer over all "
            "training images. *Label*: the same among those that carry the affected label, as if every method were "
            "told it. AP: average precision of the scores, whatever is flagged. Mean ± standard deviation over the "
            "successful seeds; a dash where nothing is flagged. Published settings, but: Spectral Signatures is told "
            "the true share of poison; Frequency learns from the clean test images; influence, cosine and TRAK have "
            "no published threshold and flag scores above the median by 3 robust standard deviations. Seconds are "
            "those of the method alone, without index, features and queries, beside another process.",
            "",
            table(header, rows),
            "",
            _sources(results),
            "",
        ]
    )


def engines(results: Results) -> str:
    """Both rules on both engines."""
    rows = [
        [
            name.removeprefix("engines "),
            row["engine"],
            detectors.make(row["rule"]).title,
            f"{row['n_flagged']:,}",
            *(spread([row[figure]]) for figure in ("precision", "recall", "average_precision")),
            f"{row['seconds']:.0f}",
        ]
        for name, result in results.items()
        if name.startswith("engines ") and "skipped" not in result
        for row in result["rows"]
    ]
    if not rows:
        return ""
    return "\n".join(
        [
            "## The rules on EK-FAC",
            "",
            "The same affected image on our EK-FAC. Seconds: the whole investigation, the calibration of the evidence "
            "test included; for EK-FAC its factors too.",
            "",
            table(["case", "engine", "rule", "flagged", "precision", "recall", "AP", "seconds"], rows),
            "",
        ]
    )


def _sources(results: Results) -> str:
    seen: dict[str, str] = {}
    for name, result in results.items():
        for row in result.get("rows", []) if name.startswith("detection ") else []:
            seen.setdefault(row["title"], row["source"])
    return "Sources: " + "; ".join(f"{title}: {source}" for title, source in seen.items()) + "."
