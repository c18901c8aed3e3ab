"""The page's sections on accusations: ordinary images, and the sweep without any affected image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.cases import CLEAN
from benchmarks.page_detection import Results, counted, of_attack
from benchmarks.plan import AttackPlan, Plan
from benchmarks.tables import spread, table, verdict
from orfila_engine.evidence import FOUND_P, STRICT_P

MOST_FOUND = 0.05
MOST_STRICT = 0.01


def found(answer: dict[str, Any]) -> bool:
    """Whether an answer of the evidence test accuses."""
    return bool(answer["verdict"] == "poisoning found")


def strictly(answer: dict[str, Any]) -> bool:
    """Whether it accuses at the strict level."""
    return bool(answer["level"] == "strict")


def alarms(results: Results) -> str:
    """False alarms on ordinary misclassified images."""
    rows = []
    for name, result in sorted(_alarms(results)):
        rows.append([name, f"{result['accuracy']:.1%}", *_rates(result["answers"])])
    if not rows:
        return ""
    everything = [a for _, result in _alarms(results) for a in result["answers"]]
    rows.append(["all", "", *_rates(everything)])
    header = ["model", "accuracy", "images", "poisoning found", "at the strict level", "weak evidence"]
    return "\n".join(
        [
            "## Ordinary misclassified images",
            "",
            "Test images without a trigger that the model gets wrong, drawn at random. Every accusation is a false "
            f"alarm, also where the model is poisoned. Found at p <= {FOUND_P}, strictly at p <= {STRICT_P}.",
            "",
            table(header, rows),
            "",
        ]
    )


def targets(results: Results) -> list[list[str]]:
    """Rows of the target table."""
    answers = [a for _, result in _alarms(results) for a in result["answers"]]
    n = len(answers)
    if n == 0:
        return [["ordinary images", f"found <= {MOST_FOUND:.0%}, strictly <= {MOST_STRICT:.0%}", "", "not measured"]]
    rows = []
    for title, most, test in (("found", MOST_FOUND, found), ("found strictly", MOST_STRICT, strictly)):
        count = sum(map(test, answers))
        reached = f"{count} of {n:,} ({count / n:.1%})"
        rows.append([f"ordinary images: {title}", f"<= {most:.0%}", reached, verdict(count <= most * n)])
    return rows


def sweeps(results: Results, plan: Plan) -> str:
    """What the sweep says of every model."""
    rows = []
    for name, result in results.items():
        if not name.startswith("sweep "):
            continue
        case = name.removeprefix("sweep ")
        rows.append(
            [
                case,
                result["poisoned"] or "none",
                ", ".join(result["accused"]) or "none",
                ", ".join(result["suspected"]) or "none",
                spread([result["precision"]]),
                spread([result["recall"]]),
                f"{result['seconds']:.1f}",
            ]
        )
    if not rows:
        return ""
    header = ["model", "poisoned class", "accused", "at p <= 0.05 only", "precision", "recall", "seconds"]
    return "\n".join(
        [
            "## Sweep without an affected image",
            "",
            "Every class is looked at by itself and accused at the strict level. Precision and recall: of what is "
            "flagged in the poisoned class.",
            "",
            table(header, rows),
            "",
        ]
    )


def sweep_targets(results: Results, plan: Plan) -> list[list[str]]:
    """Rows of the target table."""
    clean = [r for name, r in results.items() if name.startswith(f"sweep {CLEAN}-")]
    rows = []
    triggered = [attack for attack in plan.attacks if attack.least_psr > 0]
    for title, attacks in (
        ("sweep: poisoned class found", plan.attacks),
        ("the same, but for label flips, whose success rate stays below .2", triggered),
    ):
        poisoned = [r for attack in attacks for r in _swept(results, plan, attack)]
        if poisoned:
            hits = sum(r["poisoned"] in r["accused"] for r in poisoned)
            rows.append([title, "always", f"{hits} of {len(poisoned)}", verdict(hits == len(poisoned))])
    if clean:
        wrong = sum(len(r["accused"]) for r in clean)
        rows.append(
            [
                "sweep: classes of clean models accused",
                "none",
                f"{wrong} in {len(clean)} models",
                verdict(wrong == 0),
            ]
        )
    return rows


def _swept(results: Results, plan: Plan, attack: AttackPlan) -> list[dict[str, Any]]:
    """Sweeps of the seeds in which an attack succeeded."""
    succeeded = counted(of_attack(results, plan, attack), attack)
    names = [f"{attack.label}-{seed}" for seed in plan.seeds]
    return [
        results[f"sweep {name}"]
        for name in names
        if results.get(f"detection {name}") in succeeded and f"sweep {name}" in results
    ]


def _alarms(results: Results) -> Iterable[tuple[str, dict[str, Any]]]:
    return [(name.removeprefix("alarms "), r) for name, r in results.items() if name.startswith("alarms ")]


def _rates(answers: list[dict[str, Any]]) -> list[str]:
    n = len(answers)

    def rate(count: int) -> str:
        return f"{count} ({count / max(1, n):.1%})"

    weak = sum(a["verdict"] == "weak evidence" for a in answers)
    return [f"{n:,}", rate(sum(map(found, answers))), rate(sum(map(strictly, answers))), rate(weak)]
