"""The page's sections on repair: what removal does to the model, and all unlearning methods on one case."""

from __future__ import annotations

from typing import Any

from benchmarks.page_detection import Results
from benchmarks.plan import Plan
from benchmarks.tables import table, verdict

HEALED_PSR = 0.01


def removal(results: Results, plan: Plan) -> str:
    """PSR and accuracy after the flagged images are removed."""
    rows = []
    for attack in plan.attacks:
        case = f"{attack.label}-{plan.seeds[0]}"
        for name, result in results.items():
            if not name.startswith(f"repair {case} "):
                continue
            method, detector = name.split()[2:]
            if attack.label in plan.unlearned and method not in ("cf", "eu"):
                continue  # in the table of unlearning methods
            rows.append([attack.label, detector, *_cells(result, method)])
    if not rows:
        return ""
    return "\n".join(
        [
            "## Repair without what a detector flags",
            "",
            f"Seed {plan.seeds[0]}. CF fine-tunes on the kept images, EU retrains from scratch. Healed: the affected "
            "image receives its true label again. Removed: images, and how many of them are poison.",
            "",
            table(["attack", "detector", *_HEADER], rows),
            "",
        ]
    )


def unlearners(results: Results, plan: Plan) -> str:
    """Every unlearning method on the same flagged set."""
    rows = []
    for label in plan.unlearned:
        start = f"repair {label}-{plan.seeds[0]} "
        for name, result in results.items():
            if name.startswith(start) and name.split()[3] == "collapse":
                rows.append([label, *_cells(result, name.split()[2])])
    if not rows:
        return ""
    return "\n".join(
        [
            "## Unlearning methods",
            "",
            f"Each removes what the collapse rule flags, seed {plan.seeds[0]}. Settings are chosen on kept held-out "
            "data, never by the poison success rate.",
            "",
            table(["attack", *_HEADER], rows),
            "",
        ]
    )


def previews(results: Results) -> str:
    """How far the preview of a removal is from what retraining without the set really did."""
    rows = []
    for name, result in results.items():
        if not name.startswith("repair ") or name.split()[2] != "eu" or "skipped" in result:
            continue
        before, expected, after = (result[f"margin_{when}"] for when in ("before", "expected", "after"))
        same = (expected < 0) == (after < 0)
        rows.append(
            [
                name.split()[1],
                f"{result['n_removed']:,}",
                f"{before:.1f}",
                f"{expected:.1f}",
                f"{after:.1f}",
                f"{expected - after:+.1f}",
                "yes" if same else "no",
                f"{result['preview_seconds']:.3f}",
            ]
        )
    if not rows:
        return ""
    header = [
        "case", "removed", "margin now", "predicted without the set", "retrained without it", "error",
        "flip foretold", "preview, s",
    ]  # fmt: skip
    return "\n".join(
        [
            "## Preview of a removal",
            "",
            "Margin of the wrong label on the affected image, below 0 when the label is lost: now, as group influence "
            "predicts it, and as the model has it that was retrained from scratch without the set.",
            "",
            table(header, rows),
            "",
        ]
    )


_HEADER = (
    "method", "removed (poison)", "PSR before", "PSR after", f"target <= {HEALED_PSR:.0%}", "accuracy", "after",
    "healed", "seconds",
)  # fmt: skip


def _cells(result: dict[str, Any], method: str) -> list[str]:
    if "skipped" in result:
        return [method.upper(), result["skipped"], *["-"] * (len(_HEADER) - 2)]
    return [
        method.upper(),
        f"{result['n_removed']:,} ({result['n_poison_removed']:,})",
        f"{result['psr_before']:.1%}",
        f"{result['psr_after']:.1%}",
        verdict(result["psr_after"] <= HEALED_PSR),
        f"{result['accuracy_before']:.1%}",
        f"{result['accuracy_after']:.1%}",
        "yes" if result["healed"] else "no",
        f"{result['seconds']:.0f}",
    ]
