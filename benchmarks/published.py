"""The Delta-Influence paper's own figures (arXiv 2411.13731 and its notebooks), printed beside ours."""

from __future__ import annotations

from benchmarks.page_detection import OURS, Results, counted, figures, of_attack
from benchmarks.plan import Plan
from benchmarks.tables import spread, table

_DETECTION = (
    # attack of the paper, ours, flagged, precision, recall, where from
    ("BadNet, CIFAR-10, Delta-Influence", "badnet", "delta-influence", "2,808", ".176", ".988"),
    ("BadNet, CIFAR-10, influence threshold", "badnet", "influence", "13,681", ".035", ".962"),
    ("Witches' Brew, CIFAR-10, Delta-Influence", "witches-brew", "delta-influence", "-", ".033", ".19"),
)
_UNLEARNING = (("EU", "0.0", "91.8"), ("CF", "0.0", "93.0"), ("SSD", "0.1", "17.5"), ("SCRUB", "0.0", "81.7"),
               ("BADT", "68.8", "91.2"))  # fmt: skip


def section(results: Results, plan: Plan) -> str:
    """The paper's figures beside ours on the same attack."""
    known = {attack.label: attack for attack in plan.attacks}
    rows = []
    for title, label, detector, flagged, precision, recall in _DETECTION:
        if label not in known:
            continue
        found = counted(of_attack(results, plan, known[label]), known[label])
        rows.append(
            [
                title,
                f"{flagged} / {precision} / {recall}",
                *(
                    " / ".join(
                        spread(figures(found, name, "all_classes", f), d)
                        for f, d in (("n_flagged", 0), ("precision", 3), ("recall", 3))
                    )
                    for name in (detector, OURS)
                ),
            ]
        )
    header = ["setting", "the paper: flagged / precision / recall", "the same rule here", "collapse rule here"]
    repairs = []
    for method, psr, accuracy in _UNLEARNING:
        ours = results.get(f"repair badnet-{plan.seeds[0]} {method.lower()} collapse", {})
        here = f"{ours['psr_after']:.1%} / {ours['accuracy_after']:.1%}" if "psr_after" in ours else "-"
        repairs.append([method, f"{psr}% / {accuracy}%", here])
    return "\n".join(
        [
            "## The paper's figures beside ours",
            "",
            "The paper trains ResNet-18 on 50,000 images and moves threshold and tolerance by hand, against the "
            "truth, for each of its nine settings (precision 2-69 %, recall 19-100 %); ours are 10,000 images, a small "
            "ResNet, and fixed settings. So the columns show the same methods at two scales, not a race on one track.",
            "",
            table(header, rows),
            "",
            "BadNet, PSR / accuracy after unlearning what Delta-Influence flags there, the collapse rule here:",
            "",
            table(["method", "the paper", "here"], repairs),
            "",
        ]
    )
