"""The report as one HTML file: no script, no network, light and dark, and fit to be printed."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from orfila import pictures
from orfila.cases.portraits import PortraitName, draw
from orfila.cases.schemas import Estimate, Figure, Finding
from orfila.remedies.schemas import Remedy
from orfila.reports.schemas import FlaggedImage, Report

MAX_THUMBNAILS = 96
_CSS = Path(__file__).with_name("report.css")
_PORTRAITS: tuple[tuple[PortraitName, str], ...] = (
    ("difference", "flagged mean minus class mean, amplified; grey is none"),
    ("variance", "variance of the flagged; dark is alike"),
    ("flagged_mean", "mean of the flagged"),
    ("class_mean", "mean of the others of the class"),
)
_EVIDENCE = {"poisoning found": "poison", "weak evidence": "unsure"}


def written(
    report: Report,
    affected: Sequence[NDArray[np.uint8]],
    pixels: NDArray[np.uint8],
    others: NDArray[np.intp],
    histogram: Figure,
) -> str:
    """The page.

    affected: pictures [H, W, C] of the affected images. pixels: of the data set, [N, H, W, C]. others: images of the
    flagged ones' classes that are not flagged. histogram: the case's figure `shift_histogram`.
    """
    finding = report.case.finding
    assert finding is not None, "a report is made of cases with a finding"
    classes = report.dataset.classes
    flagged = np.array([image.index for image in report.flagged], dtype=np.intp)
    sections = [
        _head(report, finding),
        _section("Affected images", _affected(report, affected)),
        _section("Influence shifts", _bars(histogram)),
    ]
    if len(flagged) and len(others):
        shared = "".join(
            f"<figure>{_picture(draw(name, pixels, flagged, others), 128)}<figcaption>{text}</figcaption></figure>"
            for name, text in _PORTRAITS
        )
        mark = f"<p>{_text(finding.mark.sentence)}</p>" if finding.mark else ""
        sections.append(_section("What the flagged images share", f'{mark}<div class="row">{shared}</div>'))
    sections += [
        _section("Flagged training images", _flagged(report.flagged, pixels, classes)),
        _section("Review", _review(report)),
        _section("Repair and proof", _remedies(report.remedies, classes)),
        _section("How this was obtained", _provenance(report, finding)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{_text(report.case.name)}: report</title><style>{_CSS.read_text()}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>"
    )


def _head(report: Report, finding: Finding) -> str:
    kind = _EVIDENCE.get(finding.evidence, "clean")
    numbers = [
        ("flagged", f"{finding.n_flagged:,}"),
        ("suspects", f"{finding.n_suspects:,}"),
        ("precision", _estimate(finding.precision)),
        ("recall", _estimate(finding.recall)),
        ("p-value", f"{finding.p_value:.3f}"),
        ("judged", f"{report.review.n_judged:,}"),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in numbers)
    warnings = "".join(f'<p class="warning">{_text(warning)}</p>' for warning in finding.warnings)
    return (
        f'<header><p class="chip {kind}">{_text(finding.evidence)}</p><h1>{_text(finding.sentence)}</h1>{warnings}'
        f'<dl class="numbers">{cells}</dl><p class="quiet">Precision: {_text(finding.precision.method)} '
        f"Recall: {_text(finding.recall.method)}</p></header>"
    )


def _affected(report: Report, shown: Sequence[NDArray[np.uint8]]) -> str:
    figures = []
    for image, pixels in zip(report.case.affected, shown, strict=True):
        facts = [_text(image.name)]
        if image.predicted is not None and image.confidence is not None:
            facts.append(f"predicted <b>{_text(report.dataset.classes[image.predicted])}</b> ({image.confidence:.0%})")
        if image.true_label is not None:
            facts.append(f"really {_text(report.dataset.classes[image.true_label])}")
        if image.note:
            facts.append(_text(image.note))
        figures.append(f"<figure>{_pixels(pixels, 128)}<figcaption>{'<br>'.join(facts)}</figcaption></figure>")
    return f'<div class="row">{"".join(figures)}</div>'


def _flagged(flagged: Sequence[FlaggedImage], pixels: NDArray[np.uint8], classes: Sequence[str]) -> str:
    if not flagged:
        return "<p>Nothing is flagged.</p>"
    shown = flagged[:MAX_THUMBNAILS]
    tiles = "".join(
        f"<figure>{_pixels(pixels[image.index], 72)}"
        f'<figcaption class="{image.verdict or ""}">{image.index}<br>{_text(classes[image.label])}'
        f"<br>{image.posterior:.3f}</figcaption></figure>"
        for image in shown
    )
    return (
        f'<p class="quiet">{len(shown):,} of {len(flagged):,} shown, the surest first: index, label, posterior; the '
        f'verdict of the team as a mark. All of them are in flagged.csv.</p><div class="gallery">{tiles}</div>'
    )


def _review(report: Report) -> str:
    review, agreement = report.review, report.agreement
    if not agreement.reviewers:
        return "<p>Nobody has judged an image of this case.</p>"
    rows = [
        [
            each.reviewer,
            f"{each.n_judged:,}",
            f"{each.n_poison:,}",
            f"{each.n_clean:,}",
            f"{each.n_unsure:,}",
            "" if not each.n_controls_answered else f"{each.n_controls_right} of {each.n_controls_answered}",
        ]
        for each in agreement.reviewers
    ]
    words = f"{review.n_flagged_judged:,} of {review.n_flagged:,} flagged images are judged."
    if agreement.n_shared:
        alpha = agreement.krippendorff_alpha
        words += (
            f" {agreement.n_shared:,} images have verdicts of several reviewers, {agreement.n_unanimous:,} of them "
            f"unanimous, {agreement.n_conflicts:,} in conflict"
        )
        words += f"; Krippendorff's alpha {alpha:.2f}." if alpha is not None else "."
    header = ["reviewer", "judged", "poison", "clean", "unsure", "controls called clean"]
    return f"<p>{_text(words)}</p>{_table(header, rows)}"


def _remedies(remedies: Sequence[Remedy], classes: Sequence[str]) -> str:
    if not remedies:
        return "<p>The model has not been repaired in this case.</p>"
    rows, words = [], []
    for remedy in remedies:
        found = remedy.verification
        row = [remedy.method.upper(), f"{remedy.n_removed:,}", remedy.state.replace("_", " ")]
        if found is None:
            rows.append([*row, "", "", "", ""])
            continue
        words.append(f"<p>{_text(found.sentence)}</p>")
        healed = sum(image.healed for image in found.affected)
        psr = (
            "" if found.psr_before is None or found.psr_after is None else f"{_pair(found.psr_before, found.psr_after)}"
        )
        rows.append(
            [
                *row,
                f"{healed} of {len(found.affected)}",
                _pair(found.accuracy_before, found.accuracy_after),
                psr,
                f"{found.n_changed:,} of {found.n_test:,}",
            ]
        )
    header = ["method", "removed", "state", "healed", "accuracy", "poison success rate", "predictions changed"]
    return f"{''.join(words)}{_table(header, rows)}"


def _provenance(report: Report, finding: Finding) -> str:
    facts = [
        ("report made", f"{report.made_at:%Y-%m-%d %H:%M} UTC, Orfila {report.version}"),
        ("case", f"{report.case.name} ({report.case.id}), by {report.case.created_by}"),
        (
            "data set",
            f"{report.dataset.name}: {report.dataset.n_train:,} training, {report.dataset.n_test:,} test images",
        ),
        ("data set, content", report.dataset.digest or ""),
        ("data set, archive", report.dataset.sha256 or ""),
        ("model", f"{report.model.name}: {report.model.card.architecture}"),
        ("model, weights", report.model.sha256),
        ("result", report.case.result_digest or ""),
        (
            "audit trail",
            f"{report.audit.n_events:,} events, {report.audit.n_of_case:,} of this case; head {report.audit.head}",
        ),
    ]
    parameters = [[name, str(value)] for name, value in sorted(finding.parameters.items())]
    parameters += [["engine", finding.engine], ["threshold", f"{finding.threshold:.6g}"]]
    seconds = [[name, f"{value:.2f} s"] for name, value in finding.seconds.items()]
    files = [[name, digest] for name, digest in report.files.items()]
    return (
        _table(["what", "value"], [list(fact) for fact in facts])
        + _table(["parameter", "value"], parameters)
        + _table(["phase", "took"], seconds)
        + _table(["file of the investigation", "SHA-256"], files)
    )


def _bars(figure: Figure) -> str:
    """A histogram of the API as SVG: the same bars, counts on a logarithmic axis."""
    width, height, left, bottom, top = 760, 260, 52, 40, 12
    layout, traces = cast(dict[str, Any], figure.layout), cast(list[dict[str, Any]], figure.data)
    low, high = (float(value) for value in layout["xaxis"]["range"])
    most = max((max(trace["y"], default=0) for trace in traces), default=0)
    decades = max(1, math.ceil(math.log10(most))) if most > 1 else 1
    inner = height - bottom - top

    def across(value: float) -> float:
        return left + (width - left - 12) * (value - low) / (high - low)

    def up(count: float) -> float:
        # A single image must be seen: the axis starts a fifth of a decade below 1.
        return height - bottom - inner * (math.log10(count) + 0.2) / (decades + 0.2)

    parts = []
    for decade in range(decades + 1):
        y = up(10**decade)
        parts.append(f'<line x1="{left}" x2="{width - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10**decade:,}</text>')
    for trace, style in zip(traces, ("rest", "suspect", "flag"), strict=True):
        bar = max(1.0, across(low + trace["width"]) - left - 0.6)
        for x, count in zip(trace["x"], trace["y"], strict=True):
            if count:
                y = up(count)
                parts.append(
                    f'<rect class="{style}" x="{across(x) - bar / 2:.1f}" y="{y:.1f}" width="{bar:.1f}" '
                    f'height="{height - bottom - y:.1f}"/>'
                )
    for k in range(5):
        value = low + (high - low) * k / 4
        anchor = ("start", "middle", "middle", "middle", "end")[k]
        parts.append(f'<text x="{across(value):.1f}" y="{height - 22}" text-anchor="{anchor}">{_short(value)}</text>')
    line = across(layout["meta"]["threshold"])
    parts.append(f'<line class="threshold" x1="{line:.1f}" x2="{line:.1f}" y1="{top}" y2="{height - bottom}"/>')
    title = layout["xaxis"]["title"]["text"]
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 6}" text-anchor="middle">{_text(title)}</text>')
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Histogram of the {_text(title)}">'
        f'{"".join(parts)}</svg><p class="quiet">Training images by mean influence shift, on a log axis: flagged '
        "(orange), other suspects (blue), the rest (grey). A negative shift is a collapse.</p>"
    )


def _short(value: float) -> str:
    """A number for an axis: three digits and, where it is large, k or M."""
    for factor, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:,.3g}{suffix}"
    return f"{value:.3g}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _pair(before: float, after: float) -> str:
    return f"{before:.1%} → {after:.1%}"


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} <small>[{estimate.low:.2f}, {estimate.high:.2f}]</small>"


def _pixels(pixels: NDArray[np.uint8], size: int) -> str:
    return _picture(pictures.png(np.asarray(pixels)), size)


def _picture(data: bytes, size: int) -> str:
    return f'<img width="{size}" alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _text(value: str) -> str:
    return html.escape(value, quote=True)
