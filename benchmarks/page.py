"""docs/benchmarks.md from the results of the sections."""

from __future__ import annotations

from typing import Any

_HEAD = """# Benchmarks

Written by `make bench` from the results in bench-data/; not edited by hand. Real images: CIFAR-10 (Krizhevsky 2009),
10,000 training and 2,000 test images. A target that is missed is printed as missed.
"""


def write(sections: dict[str, dict[str, Any]]) -> str:
    """The page for the sections that have a result."""
    parts = [_HEAD]
    speeds = [s for name, s in sections.items() if name.startswith("speed")]
    detections = [s for name, s in sections.items() if name.startswith("detection")]
    if speeds:
        parts.append(_speed(speeds))
    if detections:
        parts.append(_detection(detections))
    return "\n".join(parts)


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _machine(about: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in about.items())


def _speed(results: list[dict[str, Any]]) -> str:
    first = results[0]
    lines = [
        "## Speed of the fingerprint index",
        "",
        f"{first['images']:,} images, {first['parameters']:,} parameters, fingerprints of {first['dimension']:,} "
        f"numbers, batches of {first['batch']} for all. Epoch: forward and backward in training mode, no optimiser, no "
        "loader. The target is judged against the faster of its two memory formats; the ratio to a plain epoch in "
        "torch's default format stands beside it. Best of interleaved rounds, wall-clock seconds.",
        "",
        "| threads | epoch | epoch, channels last | index | index / plain epoch | index / faster epoch | "
        "target <= 1.0 | further affected image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        best = {name: min(values) for name, values in r["seconds"].items()}
        lines.append(
            f"| {r['threads']} | {best['epoch']:.1f} | {best['epoch, channels last']:.1f} | {best['index']:.1f} | "
            f"{best['index'] / best['epoch']:.2f} | {r['index / epoch']:.2f} | "
            f"{_verdict(r['index / epoch'] <= 1)} | {r['further affected image']:.2f} |"
        )
    peers = [r for r in results if "kronfluence" in r]
    if peers:
        lines += [
            "",
            "Beside Kronfluence's EK-FAC (its defaults, same model, images and threads, same run):",
            "",
            "| threads | factors | 51 queries | ours, index + 51 queries | times faster | target >= 12 | ranks agree |",
            "|---|---|---|---|---|---|---|",
        ]
    for r in peers:
        k = r["kronfluence"]
        lines.append(
            f"| {r['threads']} | {k['factors']:.0f} | {k['51 queries']:.0f} | {k['ours, index + 51 queries']:.1f} | "
            f"{k['times faster']:.1f} | {_verdict(k['times faster'] >= 12)} | "
            f"{k['rank correlation of the influences']:.2f} |"
        )
    lines += ["", "Every round, seconds:", ""]
    lines += [f"- {r['threads']} threads: {r['seconds']}" for r in results]
    return "\n".join([*lines, "", _machine(first["machine"]), ""])


def _detection(results: list[dict[str, Any]]) -> str:
    lines = [
        "## Detection from one affected image, and repair",
        "",
        "P precision, R recall of the flagged set against the planted truth; PSR the share of triggered test images of "
        "the victim class that receive the target label.",
        "",
        "| attack | rate | seed | PSR | collapse rule P / R | paper rule P / R | average precision | evidence | "
        "target P >= .98, R >= .99 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        ours, paper, evidence = r["collapse_rule"], r["paper_rule"], r["evidence"]
        met = ours["precision"] >= 0.98 and ours["recall"] >= 0.99
        lines.append(
            f"| {r['attack']} | {r['rate']:.1%} | {r['seed']} | {r['poison_success_rate']:.2f} | "
            f"{ours['precision']:.3f} / {ours['recall']:.3f} | {paper['precision']:.3f} / {paper['recall']:.3f} | "
            f"{r['average_precision']:.3f} | {evidence['verdict']} (p = {evidence['p_value']:.3f}) | {_verdict(met)} |"
        )
    lines += [
        "",
        "Repair without the flagged images:",
        "",
        "| attack | seed | method | removed | PSR before | PSR after | target <= 1 % | accuracy | after | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        for method, fix in r["repairs"].items():
            lines.append(
                f"| {r['attack']} | {r['seed']} | {method.upper()} | {fix['n_removed']} | {fix['psr_before']:.1%} | "
                f"{fix['psr_after']:.1%} | {_verdict(fix['psr_after'] <= 0.01)} | {fix['accuracy_before']:.1%} | "
                f"{fix['accuracy_after']:.1%} | {fix['seconds']:.0f} |"
            )
    first = results[0]
    lines += ["", f"{first['architecture']}, {first['epochs']} epochs without augmentation.", ""]
    return "\n".join([*lines, _machine(first["machine"]), ""])
