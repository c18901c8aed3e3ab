"""The figure of a sweep: how surprising the most prominent group of each class is, coloured by its evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from orfila.cases.schemas import EvidenceLevel, Figure
from orfila.figures.template import AFFECTED, GREY, POISON, UNSURE, as_json
from orfila.sweeps.schemas import SweepOutcome

STRICT_P = 0.01
"""A class is accused at this level (see the engine's evidence)."""
SMALLEST_P = 1e-12
"""Smaller ones are drawn alike."""
_LOOK: dict[EvidenceLevel, tuple[str, str]] = {
    "poisoning found": (POISON, ""),
    "weak evidence": (UNSURE, "/"),
    "no evidence of poisoning": (GREY, ""),
}
"""Colour and hatching: weak evidence is told apart without colour as well."""


def classes(outcome: SweepOutcome, names: Sequence[str]) -> Figure:
    """A bar for each class: -log10 of its p-value, with the line of the strict level that accuses."""
    figure = go.Figure()
    for level, (colour, pattern) in _LOOK.items():
        shown = [c for c in outcome.classes if c.evidence == level]
        if shown:
            figure.add_bar(
                x=[names[c.label] for c in shown],
                y=[-math.log10(max(c.p_value, SMALLEST_P)) for c in shown],
                name=level,
                marker={"color": colour, "pattern": {"shape": pattern}},
                customdata=[[c.n_flagged, c.p_value] for c in shown],
                hovertemplate=f"%{{x}}: p = %{{customdata[1]:.2g}}<br>%{{customdata[0]}} flagged<extra>{level}</extra>",
            )
    figure.update_layout(showlegend=True, barmode="overlay")
    figure.update_xaxes(
        title_text="class",
        type="category",
        categoryorder="array",
        categoryarray=[names[c.label] for c in outcome.classes],
    )
    figure.add_hline(
        y=-math.log10(STRICT_P), line={"color": AFFECTED, "dash": "dash", "width": 1.5},
        annotation={"text": "strict level", "font": {"color": AFFECTED}}, annotation_position="top right",
    )  # fmt: skip
    figure.update_yaxes(title_text="−log10 of the p-value", rangemode="tozero")
    return as_json(figure)
