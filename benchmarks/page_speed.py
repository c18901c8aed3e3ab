"""The page's sections on time: the index beside an epoch and Kronfluence, and every phase in training epochs."""

from __future__ import annotations

from typing import Any

from benchmarks.page_detection import Results
from benchmarks.tables import table, verdict


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
            "Beside Kronfluence's EK-FAC (its defaults, same model, images and threads, same run):",
            "",
            table(
                ["threads", "factors", "51 queries", "ours, index + 51 queries", "times faster", "ranks agree"],
                [_peer_row(r) for r in peers],
            ),
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


def _peer_row(r: dict[str, Any]) -> list[str]:
    k = r["kronfluence"]
    return [
        str(r["threads"]),
        f"{k['factors']:.0f}",
        f"{k['51 queries']:.0f}",
        f"{k['ours, index + 51 queries']:.1f}",
        f"{k['times faster']:.1f}",
        f"{k['rank correlation of the influences']:.2f}",
    ]
