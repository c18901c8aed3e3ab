"""report.html of an investigation: one file, no network, light and dark, readable without Orfila."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from orfila_engine.confirmation import Confirmation
from orfila_engine.data import PackedDataset
from orfila_engine.report_figures import by_transform, histogram

MAX_THUMBNAILS = 96
_TILE = 64
_CSS = Path(__file__).with_name("report.css")


@dataclass(frozen=True)
class _Content:
    summary: dict[str, Any]
    queries: list[dict[str, Any]]
    query_images: NDArray[np.uint8]
    columns: dict[str, NDArray[Any]]
    shifts: NDArray[np.float32]
    """[A, n, n_b]"""


def write_report(investigation: Path, packed: PackedDataset, target: Path) -> None:
    """Write the report of an investigation directory about a pack's training images."""
    content = _read(investigation)
    page = _page(content, packed)
    part = target.with_name(target.name + ".part")
    part.write_text(page, encoding="utf-8")
    part.replace(target)


def _read(folder: Path) -> _Content:
    table = pq.read_table(folder / "scores.parquet")
    shifts = np.load(folder / "shifts.npy", mmap_mode="r")
    return _Content(
        summary=json.loads((folder / "summary.json").read_text()),
        queries=json.loads((folder / "queries.json").read_text()),
        query_images=np.load(folder / "query_images.npy"),
        columns={name: table[name].to_numpy() for name in table.column_names if name != "name"},
        shifts=shifts if shifts.ndim == 3 else shifts[None],
    )


def _page(content: _Content, packed: PackedDataset) -> str:
    summary = content.summary
    columns = content.columns
    flagged = np.flatnonzero(columns["flagged"])
    order = np.lexsort((-columns["collapse_score"][flagged], -columns["posterior"][flagged]))
    flagged = flagged[order]
    sections = [
        _head(summary),
        _section("Affected image", _affected(content, packed.classes)),
        _section("How the suspects score", _scores(content)),
        _section("Flagged training images", _flagged(content, packed, flagged)),
    ]
    if len(flagged):
        mark = summary["mark"]
        words = f"<p>{_text(mark['sentence'])}</p>" if mark is not None else ""
        sections.append(_section("What the flagged images share", words + _shared(content, packed, flagged)))
    sections.append(_section("How this was obtained", _provenance(summary)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{_text(summary['sentence'])}</title><style>{_CSS.read_text()}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>"
    )


def _head(summary: dict[str, Any]) -> str:
    evidence = summary["evidence"]
    kind = {"poisoning found": "poison", "weak evidence": "unsure"}.get(evidence["verdict"], "clean")
    numbers = [
        ("flagged", f"{summary['n_flagged']:,}"),
        ("suspects", f"{summary['n_suspects']:,}"),
        ("estimated precision", _estimate(summary["precision"])),
        ("estimated recall", _estimate(summary["recall"])),
        ("p-value", f"{evidence['p_value']:.3f}"),
        ("the paper's rule flags", f"{summary['n_flagged_paper']:,}"),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in numbers)
    warnings = "".join(f'<p class="warning">{_text(warning)}</p>' for warning in summary["warnings"])
    return (
        f'<header><p class="chip {kind}">{_text(evidence["verdict"])}</p><h1>{_text(summary["sentence"])}</h1>'
        f'{warnings}<dl class="numbers">{cells}</dl></header>'
    )


def _affected(content: _Content, classes: Sequence[str]) -> str:
    figures = []
    for described, images in zip(content.queries, content.query_images, strict=True):
        true = described["true_label"]
        facts = [f"predicted <b>{_text(classes[described['predicted']])}</b> ({described['confidence']:.0%})"]
        if true is not None:
            facts.append(f"really {_text(classes[true])}")
        if described["note"]:
            facts.append(f"converted: {_text(described['note'])}")
        strip = "".join(
            f"<figure>{_picture(image, 1)}<figcaption>{_text(query['transform'])}</figcaption></figure>"
            for image, query in zip(images[1:9], described["queries"][1:9], strict=True)
        )
        figures.append(
            f'<div class="affected"><figure>{_picture(images[0], 3)}<figcaption>{_text(described["name"])}<br>'
            f"{'<br>'.join(facts)}</figcaption></figure>"
            f'<div><p class="quiet">The first of its {len(images) - 1} transformed queries</p>'
            f'<div class="strip">{strip}</div></div></div>'
        )
    return "".join(figures)


def _scores(content: _Content) -> str:
    columns = content.columns
    suspect, flagged = columns["suspect"], columns["flagged"]
    score = columns["collapse_score"]
    parts = [histogram(score[suspect & ~flagged], score[suspect & flagged], "collapse score (cosine)")]
    if content.summary["mark"] is not None:
        mark = columns["mark_score"]
        title = "mark score (standard deviations of clean test images)"
        parts.append(histogram(mark[suspect & ~flagged], mark[suspect & flagged], title))
    if flagged.any():
        kinds = [q["transform"] for q in content.queries[0]["queries"][1:]]
        mean = content.shifts[:, np.flatnonzero(flagged)].astype(np.float32).mean((0, 1))
        parts.append(by_transform(kinds, mean, "mean influence shift of the flagged images"))
    return f'<div class="figures">{"".join(parts)}</div>'


def _flagged(content: _Content, packed: PackedDataset, flagged: NDArray[np.int64]) -> str:
    if len(flagged) == 0:
        return '<p class="quiet">No training image is flagged.</p>'
    tiles = []
    for i in flagged[:MAX_THUMBNAILS].tolist():
        label = packed.classes[int(packed.labels[i])]
        posterior = content.columns["posterior"][i]
        tiles.append(
            f'<figure title="{_text(packed.names[i])}">{_picture(packed.pixels[i], 1)}'
            f"<figcaption>#{i} {_text(label)}<br>{posterior:.3f}</figcaption></figure>"
        )
    shown = min(len(flagged), MAX_THUMBNAILS)
    note = f"{shown:,} of {len(flagged):,} shown, surest first; the number is the posterior. All are in flagged.csv."
    return f'<p class="quiet">{note}</p><div class="gallery">{"".join(tiles)}</div>'


def _shared(content: _Content, packed: PackedDataset, flagged: NDArray[np.int64]) -> str:
    """Mean of the flagged minus the mean of the other suspects: a fixed trigger becomes visible."""
    others = np.flatnonzero(content.columns["suspect"] & ~content.columns["flagged"])
    mean = _mean(packed, flagged)
    pictures = [("mean of the flagged", mean)]
    if len(others):
        rest = _mean(packed, others)
        difference = mean - rest
        scale = max(float(np.abs(difference).max()), 1.0)
        pictures += [
            ("mean of the other suspects", rest),
            ("difference, stretched", 127.5 + 127.5 * difference / scale),
        ]
    return '<div class="strip">' + "".join(
        f"<figure>{_picture(np.clip(np.rint(p), 0, 255).astype(np.uint8), 3)}<figcaption>{name}</figcaption></figure>"
        for name, p in pictures
    ) + "</div>"  # fmt: skip


def _mean(packed: PackedDataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.zeros(packed.pixels.shape[1:], dtype=np.float64)
    for start in range(0, len(rows), 1024):
        total += packed.pixels[rows[start : start + 1024]].sum(0, dtype=np.float64)
    return total / len(rows)


def _provenance(summary: dict[str, Any]) -> str:
    n_verdicts = summary["parameters"]["n_confirmed"]
    judged = f"they have learned from {n_verdicts:,} verdicts" if n_verdicts else "nobody has judged these images yet"
    prose = (
        "Delta-Influence (arXiv 2411.13731): the affected image is transformed until its link to the poison breaks; "
        "the influence of poisoned training images on it collapses. A mixture of two normal distributions over the "
        f"suspects' collapse scores gives each a posterior{_joined(summary)}; above {summary['threshold']:.2f} it is "
        "flagged. "
        f"Estimated precision and recall follow from the posteriors; {judged}. {_p_value(summary['evidence'])}"
    )
    if "confirmation" in summary:
        prose += f" {Confirmation(**summary['confirmation']).sentence()}"
    blocks = [_table("Parameters", summary["parameters"]), _table("Digests (SHA-256)", summary["digests"])]
    blocks += [_table("Seconds", summary["seconds"]), _table("Versions", summary["versions"])]
    return f"<p>{prose}</p><div class='tables'>{''.join(blocks)}</div>"


def _joined(summary: dict[str, Any]) -> str:
    if summary["mark"] is None:
        return ""
    return ", joined with what the pictures of the flagged images share and clean ones have not"


def _p_value(evidence: dict[str, Any]) -> str:
    image = (
        f"Does the affected image belong to the group? p = {evidence['p_image']:.2g}: so few of "
        f"{evidence['n_reference']} ordinary test images lie as far along its direction."
    )
    if evidence["share_counterparts"] is None:
        return (
            f"Whether the group is in the training data alone cannot be told without test images of the label. {image}"
        )
    return (
        "The p-value is the larger of two. Is the group one of the training data alone? "
        f"p = {evidence['p_group']:.2g}: so few of {evidence['n_counterparts']} test images with the same label belong "
        f"to it. {image}"
    )


def _table(title: str, values: dict[str, Any]) -> str:
    rows = "".join(f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in values.items())
    return f"<table><caption>{title}</caption>{rows}</table>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _estimate(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "–"
    value, low, high = (f"{estimate[k]:.2f}".removeprefix("0") for k in ("value", "low", "high"))
    return f"{value} <small>[{low}–{high}]</small>"


def _picture(pixels: NDArray[np.uint8], size: int) -> str:
    """An image element at a whole-number zoom near `size` tiles."""
    height, width, channels = pixels.shape
    zoom = max(1, size * _TILE // max(height, width))
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" width="{width * zoom}" height="{height * zoom}" src="data:image/png;base64,{data}">'


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
