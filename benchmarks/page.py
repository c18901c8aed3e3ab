"""docs/benchmarks.md from the stored results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import (
    browser,
    cluster,
    intake,
    million,
    page_alarms,
    page_detection,
    page_repair,
    page_review,
    page_speed,
    published,
    scale,
    workbench,
)
from benchmarks.page_detection import Results
from benchmarks.plan import Plan
from benchmarks.tables import table

_HEAD = """# Benchmarks

Written by `make bench` from the results in bench-data/; not edited by hand. A target that is missed is printed as
missed.
"""
_ALONE = ("speed", "scale", "phases", "intake", "browser", "workbench", "million", "cluster")
"""Kinds of pieces that nothing runs beside."""
_OF_A_RUN = ("threads", "command")
"""What differs between the pieces of one benchmark."""


def write(stored: dict[str, dict[str, Any]], plan: Plan, data: str, missing: Sequence[str] = ()) -> str:
    """The page.

    stored: the file of each piece that has a result, by the piece's name. data: one sentence about the images.
    missing: pieces without a result.
    """
    results: Results = {name: piece["result"] for name, piece in stored.items()}
    parts = [
        _HEAD,
        _setting(plan, data),
        _targets(results, plan),
        page_detection.attacks(results, plan),
        page_detection.comparison(results, plan),
        page_detection.engines(results),
        published.section(results, plan),
        page_repair.removal(results, plan),
        page_repair.unlearners(results, plan),
        page_repair.previews(results),
        page_alarms.alarms(results),
        page_alarms.sweeps(results, plan),
        page_review.review(results),
        page_speed.phases(results),
        page_speed.speed(results),
        scale.page(results["scale"]) if "scale" in results else "",
        intake.page(results["intake"]) if "intake" in results else "",
        browser.page(results["browser"]) if "browser" in results else "",
        workbench.page(results["workbench"]) if "workbench" in results else "",
        million.page(results["million"]) if "million" in results else "",
        cluster.page(results["cluster"]) if "cluster" in results else "",
        _machines(stored, missing),
    ]
    return "\n".join(part for part in parts if part)


def _setting(plan: Plan, data: str) -> str:
    augmented = [attack.label for attack in plan.attacks if attack.attack.augmented]
    training = f"no augmentation but for {', '.join(augmented)}" if augmented else "no augmentation"
    seeds = ", ".join(map(str, plan.seeds))
    return f"{data} {plan.architecture}, {training}, one affected image, seeds {seeds}.\n"


def _targets(results: Results, plan: Plan) -> str:
    rows = [
        *page_detection.targets(results, plan),
        *page_alarms.targets(results),
        *page_alarms.sweep_targets(results, plan),
        *page_speed.targets(results),
    ]
    return "\n".join(["## Targets", "", table(["what", "target", "reached", ""], rows), ""])


def _all(stored: dict[str, dict[str, Any]], names: Sequence[str], key: str) -> str:
    return ", ".join(sorted({stored[name]["machine"][key] for name in names}))


def _machines(stored: dict[str, dict[str, Any]], missing: Sequence[str]) -> str:
    """Where it was measured; pieces that were measured alike are told of together."""
    lines = ["## Machine", ""]
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, piece in stored.items():
        same = {k: v for k, v in piece["machine"].items() if not k.startswith("load") and k not in _OF_A_RUN}
        alike.setdefault(tuple(same.items()), []).append(name)
    for about, names in alike.items():
        hours = sum(stored[name]["seconds"] for name in names) / 3600
        kinds = sorted({name.split()[0] for name in names})
        alone = sum(stored[name]["seconds"] for name in names if name.split()[0] in _ALONE) / 3600
        lines += [
            f"{len(names)} pieces ({', '.join(kinds)}), {hours:.1f} hours of processes. Two side by side, as on two "
            f"cores, and the timings alone: {(hours - alone) / 2 + alone:.1f} hours by the clock.",
            "",
        ]
        lines += [f"- {name}: {value}" for name, value in about]
        lines.append(f"- threads: {_all(stored, names, 'threads')}")
        # A benchmark that is stopped and resumed is several runs; which piece was measured in which, its file says.
        commands = {stored[name]["machine"]["command"].partition(" --only")[0] for name in names}
        lines += [f"- command: {', '.join(sorted(commands))}", ""]
    if missing:
        lines += [f"Not measured yet: {', '.join(missing)}.", ""]
    return "\n".join(lines)
