"""The page's sections on time: the index beside an epoch and Kronfluence, and every phase in training epochs."""

from __future__ import annotations

from typing import Any

from benchmarks.page_detection import Results
from benchmarks.tables import table, verdict

TIMES_FASTER = 3.0
"""Our EK-FAC than Kronfluence's, factors and 51 queries together."""


def phases(results: Results) -> str:
    """Cost of each phase, in epochs of training."""
    found = results.get("phases")
    if found is None:
        return ""
    epoch = found["epoch"]
    rows = [
        [name, f"{seconds:.2f}", f"{seconds / epoch:.2f}"]
        for name, seconds in (
            {"one epoch of training": epoch}
            | found["seconds"]
            | {f"shared by detectors: {k.replace('_', ' ')}": v for k, v in found["shared by detectors"].items()}
            | {f"detector {k}": v for k, v in found["detectors"].items()}
        ).items()
    ]
    return "\n".join(
        [
            "## Cost of each phase",
            "",
            f"{found['images']:,} images, all threads, nothing beside it. An epoch is one of `orfila train` without "
            "augmentation, optimiser included, the faster of two. The first affected image prepares the model and "
            "reads the index.",
            "",
            table(["phase", "seconds", "training epochs"], rows),
            "",
        ]
    )


def targets(results: Results) -> list[list[str]]:
    """Rows of the target table."""
    rows = []
    for r in _speeds(results):
        what = f"index / epoch, {r['architecture']}, {r['threads']} threads"
        ratio, target = r["index / epoch"], r["target"]
        rows.append([what, f"<= {target:.1f}", f"{ratio:.2f}", verdict(ratio <= target)])
        if "kronfluence" in r:
            times = r["kronfluence"]["our EK-FAC"]["times faster"]
            what = f"times faster than Kronfluence's EK-FAC, {r['threads']} threads"
            rows.append([what, f">= {TIMES_FASTER:.0f}", f"{times:.1f}", verdict(times >= TIMES_FASTER)])
    return rows


def speed(results: Results) -> str:
    """The index beside a plain epoch and the peer."""
    found = _speeds(results)
    if not found:
        return ""
    lines = [
        "## Speed of the fingerprint index",
        "",
        "Epoch: forward and backward in training mode, no optimiser, no loader, batches of the index. The target is "
        "judged against the faster of its two memory formats; the ratio to a plain epoch in torch's default format "
        "stands beside it. Best of interleaved rounds, wall-clock seconds.",
        "",
        table(
            [
                "model", "images", "fingerprint", "threads", "epoch", "epoch, channels last", "index",
                "index / plain epoch", "index / faster epoch", "target", "", "further affected image",
            ],
            [_speed_row(r) for r in found],
        ),
    ]  # fmt: skip
    peers = [r for r in found if "kronfluence" in r]
    if peers:
        lines += [
            "",
            "Beside Kronfluence's EK-FAC (its defaults and its heuristic damping; same model, images and threads, same "
            "run):",
            "",
            table(
                ["threads", "engine", "factors or index", "51 queries", "times faster", "target", "", "ranks agree"],
                [row for r in peers for row in _peer_rows(r)],
            ),
            "",
            "Our EK-FAC needs "
            + " and ".join(f"{r['kronfluence']['our EK-FAC']['self-influence and sketches']:.0f} s" for r in peers)
            + " more for the self-influence of every image and the sketches of the evidence test, once.",
        ]
    lines += ["", "Every round, seconds:", ""]
    lines += [f"- {r['architecture']}, {r['threads']} threads: {r['seconds']}" for r in found]
    return "\n".join([*lines, ""])


def _speeds(results: Results) -> list[dict[str, Any]]:
    return [r for name, r in results.items() if name.startswith("speed")]


def _speed_row(r: dict[str, Any]) -> list[str]:
    best = {name: min(values) for name, values in r["seconds"].items()}
    return [
        f"{r['architecture']} ({r['parameters']:,} parameters)",
        f"{r['images']:,}",
        f"{r['dimension']:,}",
        str(r["threads"]),
        f"{best['epoch']:.1f}",
        f"{best['epoch, channels last']:.1f}",
        f"{best['index']:.1f}",
        f"{best['index'] / best['epoch']:.2f}",
        f"{r['index / epoch']:.2f}",
        f"<= {r['target']:.1f}",
        verdict(r["index / epoch"] <= r["target"]),
        f"{r['further affected image']:.2f}",
    ]


def _peer_rows(r: dict[str, Any]) -> list[list[str]]:
    k = r["kronfluence"]
    own, threads = k["our EK-FAC"], str(r["threads"])
    met = verdict(own["times faster"] >= TIMES_FASTER)
    return [
        [threads, "Kronfluence", f"{k['factors']:.0f}", f"{k['51 queries']:.0f}", "1", "", "", "1"],
        [
            threads, "our EK-FAC", f"{own['factors']:.0f}", f"{own['51 queries']:.0f}", f"{own['times faster']:.1f}",
            f">= {TIMES_FASTER:.0f}", met, f"{own['rank correlation of the influences']:.3f}",
        ],
        [
            threads, "our fingerprint index", f"{k['ours, index + 51 queries']:.1f}", "included",
            f"{k['times faster']:.1f}", "", "", f"{k['rank correlation of the influences']:.2f}",
        ],
    ]  # fmt: skip
