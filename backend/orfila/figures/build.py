"""The figures of cases and remedies. Binned here: a browser gets some hundred numbers, never every shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from orfila.cases.findings import Query
from orfila.cases.schemas import Figure
from orfila.columns import Scores
from orfila.figures.template import AFFECTED, CLEAN, DIVERGING, GREY, POISON, as_json

BINS = 80
SHOWN_IMAGES = 60


def shift_histogram(scores: Scores) -> Figure:
    """Mean influence shift over the transformed queries: flagged, other suspects, the rest.

    The line stands where the flagged set begins: at its greatest shift, without the topmost 1 %. Counts are on a log
    axis, since a few hundred poisons stand beside tens of thousands.
    """
    flagged = scores.flags["flagged"]
    shift = scores.numbers["shift_mean"]
    line = float(np.quantile(shift[flagged], 0.99)) if flagged.any() else 0.0
    return _histogram(scores, shift, line, "mean influence shift", "Below the line: collapse")


def score_histogram(scores: Scores) -> Figure:
    """Collapse score of the same three groups; the line is the least score that is flagged."""
    flagged = scores.flags["flagged"]
    score = scores.numbers["collapse_score"]
    line = float(score[flagged].min()) if flagged.any() else float(score.max(initial=0.0))
    return _histogram(scores, score, line, "collapse score (cosine)", "Above the line: flagged")


def transform_heatmap(scores: Scores, shifts: NDArray[np.float16], queries: list[list[Query]]) -> Figure:
    """Which transform broke the link: mean shift by transform, for the most probable poisons, and for the rest.

    shifts: [A, n_train, n_b]. Columns are the flagged images with the highest posterior (at most SHOWN_IMAGES; without
    flagged images, the highest of all), and last the mean of all training images that are not flagged.
    """
    flagged = scores.flags["flagged"]
    pool = np.flatnonzero(flagged) if flagged.any() else np.arange(len(scores))
    chosen = scores.surest_first(pool)[:SHOWN_IMAGES]
    kinds = sorted({q.transform for affected in queries for q in affected})
    rest_mask = ~flagged
    table: list[list[float]] = []
    for kind in kinds:
        images, rest = [], []
        for number, affected in enumerate(queries):
            positions = [i for i, q in enumerate(affected) if q.transform == kind]
            if positions:
                block = shifts[number][:, positions].astype(np.float32)
                images.append(block[chosen].mean(1))
                rest.append(float(block[rest_mask].mean()))
        table.append([*np.mean(images, axis=0).tolist(), float(np.mean(rest))])
    reach = float(np.abs(np.array(table)).max()) or 1.0
    columns = [f"{i}" for i in chosen] + ["not flagged"]
    figure = go.Figure(
        go.Heatmap(
            z=table,
            x=columns,
            y=[k.replace("_", " ") for k in kinds],
            colorscale=DIVERGING,
            zmin=-reach,
            zmax=reach,
            colorbar={"title": {"text": "shift"}, "thickness": 12},
            hovertemplate="image %{x}<br>%{y}: %{z:.3g}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="training image, most probable first", type="category", showticklabels=False)
    return as_json(figure)


def class_accuracy(classes: Sequence[str], before: Sequence[float], after: Sequence[float] | None = None) -> Figure:
    """Accuracy of each class on the test split, in per cent; beside it after a repair."""
    bars = [("before" if after is not None else "accuracy", before, GREY if after is not None else AFFECTED)]
    if after is not None:
        bars.append(("after", after, CLEAN))
    figure = go.Figure(
        [
            go.Bar(
                x=list(classes),
                y=[100 * v for v in values],
                name=name,
                marker_color=colour,
                hovertemplate="%{x}: %{y:.1f} %<extra>" + name + "</extra>",
            )
            for name, values, colour in bars
        ]
    )
    figure.update_layout(barmode="group", showlegend=after is not None)
    figure.update_xaxes(title_text="class", type="category")
    figure.update_yaxes(title_text="accuracy, %", range=[0, 100])
    return as_json(figure)


def accuracy_by_class(label: NDArray[np.int32], predicted: NDArray[np.int32], n_classes: int) -> list[float]:
    """Share of each class's test images that are predicted right; 0 for a class without any. label, predicted: [n]."""
    right = np.bincount(label[label == predicted], minlength=n_classes)
    total = np.bincount(label, minlength=n_classes)
    shares: list[float] = (right / np.maximum(total, 1)).tolist()
    return shares


def _histogram(scores: Scores, values: NDArray[np.float32], line: float, axis: str, hint: str) -> Figure:
    flagged, suspect = scores.flags["flagged"], scores.flags["suspect"]
    edges = _edges(values)
    groups: list[tuple[str, Any, str]] = [
        ("not suspected", ~suspect & ~flagged, GREY),
        ("suspects, not flagged", suspect & ~flagged, CLEAN),
        ("flagged", flagged, POISON),
    ]
    # What lies beyond the edges is counted in the outermost bins, so that the bars add up to all images.
    inside = np.clip(values, edges[0], edges[-1])
    centres = ((edges[:-1] + edges[1:]) / 2).tolist()
    figure = go.Figure(
        [
            go.Bar(
                x=centres,
                y=np.histogram(inside[mask], edges)[0].tolist(),  # Plotly would encode an array
                width=float(edges[1] - edges[0]),
                name=name,
                marker_color=colour,
                opacity=0.85,
                hovertemplate="%{x:.3g}: %{y} images<extra>" + name + "</extra>",
            )
            for name, mask, colour in groups
        ]
    )
    figure.add_shape(
        type="line", x0=line, x1=line, y0=0, y1=1, yref="paper", line={"color": AFFECTED, "width": 2}, name="threshold"
    )
    figure.update_layout(barmode="overlay", showlegend=True, meta={"threshold": line, "hint": hint})
    figure.update_xaxes(title_text=axis, range=[float(edges[0]), float(edges[-1])])
    figure.update_yaxes(title_text="training images", type="log", dtick=1)
    return as_json(figure)


def _edges(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Equal bins over all but the outermost 0.05 % at each end."""
    low, high = (float(v) for v in np.quantile(values, (0.0005, 0.9995))) if len(values) else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return np.linspace(low, high, BINS + 1)
