"""The figure of a drill: precision against recall, and where the automatic sets lie."""

from __future__ import annotations

import plotly.graph_objects as go

from orfila.cases.schemas import Figure
from orfila.drills.schemas import DrillOutcome
from orfila.figures.template import AFFECTED, UNSURE, as_json


def precision_recall(outcome: DrillOutcome) -> Figure:
    """A curve for each rule's ranking of the training images; the mark is the set that the rule flags by itself."""
    figure = go.Figure()
    rules = (
        ("collapse rule", outcome.collapse_curve, outcome.collapse_rule, AFFECTED, "solid", "star"),
        ("paper rule", outcome.paper_curve, outcome.paper_rule, UNSURE, "dash", "diamond"),
    )
    for name, curve, flagged, colour, dash, symbol in rules:
        figure.add_scatter(
            x=curve.recall,
            y=curve.precision,
            mode="lines",
            name=name
            if curve.average_precision is None
            else f"{name}, average precision {curve.average_precision:.2f}",
            line={"color": colour, "dash": dash, "width": 2, "shape": "hv"},
            hovertemplate="recall %{x:.2f}, precision %{y:.2f}<extra>" + name + "</extra>",
        )
        if flagged.precision is not None:
            figure.add_scatter(
                x=[flagged.recall],
                y=[flagged.precision],
                mode="markers",
                showlegend=False,
                marker={"color": colour, "symbol": symbol, "size": 13, "line": {"width": 1, "color": "#ffffff"}},
                hovertemplate=f"flagged by itself: {flagged.n_flagged:,}<br>recall %{{x:.3f}}, precision %{{y:.3f}}"
                f"<extra>{name}</extra>",
            )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="recall (share of the planted that is found)", range=[-0.02, 1.02])
    figure.update_yaxes(title_text="precision", range=[-0.02, 1.06])
    return as_json(figure)
