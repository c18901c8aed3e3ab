"""The report's figures as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 560, 240
_LEFT, _BOTTOM, _TOP = 44, 40, 24
_BINS = 48


def histogram(rest: NDArray[Any], flagged: NDArray[Any], axis: str) -> str:
    """Counts of the unflagged and the flagged suspects' scores, stacked; the height is the root of the count.

    The square root keeps a tail of few images visible beside thousands; the ticks state true counts.
    """
    values = np.concatenate([rest, flagged])
    if len(values) == 0:
        return '<p class="quiet">There are no suspects.</p>'
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    lower, upper = np.histogram(rest, edges)[0], np.histogram(flagged, edges)[0]
    top = int((lower + upper).max())
    plot_width, plot_height = _WIDTH - _LEFT - 8, _HEIGHT - _TOP - _BOTTOM
    step = plot_width / _BINS

    def y(count: float) -> float:
        return _TOP + plot_height * (1 - math.sqrt(count / top))

    bars = []
    for k, (n_rest, n_flagged) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True)):
        x = _LEFT + k * step
        for kind, base, count in (("rest", 0, n_rest), ("flag", n_rest, n_flagged)):
            if count:
                head = y(base + count)
                bars.append(_rect(kind, x, head, step - 1, y(base) - head))
    ticks = sorted({0, top, round(top / 4)})
    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:,}</text>'
        for t in ticks
    )
    marks = "".join(
        f'<text x="{_LEFT + share * plot_width:.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
        f'text-anchor="{"end" if share == 1 else "middle"}">'
        f"{low + share * (edges[-1] - low):.2f}</text>"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    legend = (
        f'<text class="rest" x="{_LEFT}" y="14">● {len(rest):,} other suspects</text>'
        f'<text class="flag" x="{_WIDTH - 8}" y="14" text-anchor="end">◆ {len(flagged):,} flagged</text>'
    )
    return _svg(f"Histogram: {axis}", grid + "".join(bars) + marks + legend + _axis(axis + ", count of images"))


def by_transform(kinds: Sequence[str], shifts: NDArray[np.float32], axis: str) -> str:
    """One bar for each transform: the mean of its queries' shifts [n_b]."""
    names = sorted(set(kinds))
    means = [float(shifts[[k == name for k in kinds]].mean()) for name in names]
    reach = max(max(abs(m) for m in means), 1e-9)
    left, row = 120, (_HEIGHT - _TOP - _BOTTOM) / len(names)
    middle, half = left + (_WIDTH - left - 60) / 2, (_WIDTH - left - 120) / 2
    parts = [f'<line x1="{middle}" x2="{middle}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>']
    for k, (name, mean) in enumerate(zip(names, means, strict=True)):
        y = _TOP + k * row
        length = half * abs(mean) / reach
        parts.append(
            _rect("flag" if mean < 0 else "rise", middle - length if mean < 0 else middle, y + 2, length, row - 4)
        )
        parts.append(f'<text x="{left - 8}" y="{y + row / 2 + 4:.1f}" text-anchor="end">{html.escape(name)}</text>')
        parts.append(f'<text x="{_WIDTH - 8}" y="{y + row / 2 + 4:.1f}" text-anchor="end">{mean:,.0f}</text>')
    return _svg(axis, "".join(parts) + _axis(axis))


def _svg(title: str, body: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">{body}</svg>'


def _axis(name: str) -> str:
    return f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(name)}</text>'


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"/>'
