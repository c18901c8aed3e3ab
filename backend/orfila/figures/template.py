"""The look of every Plotly figure, and figures as plain JSON.

Colours have a meaning everywhere in the product (Okabe-Ito, safe for colour-blind readers): poison #D55E00, clean
#009E73, affected #0072B2, not judged grey. Backgrounds are transparent and text takes the page's colour, so that one
figure serves the light and the dark theme.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from orfila.cases.schemas import Figure

POISON, CLEAN, UNSURE, AFFECTED, GREY = "#D55E00", "#009E73", "#E69F00", "#0072B2", "#8A8F98"
DIVERGING = [[0.0, POISON], [0.5, "#B8BCC4"], [1.0, AFFECTED]]
"""Signed shifts, centred on zero: vermilion = collapse, grey = none, blue = positive."""

_LINE = "rgba(128,134,144,0.28)"
_AXIS: dict[str, Any] = {
    "gridcolor": _LINE,
    "linecolor": _LINE,
    "zerolinecolor": _LINE,
    "ticks": "outside",
    "tickcolor": _LINE,
    "automargin": True,
    "title": {"standoff": 8},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": "#7A808A"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 48, "r": 12, "t": 12, "b": 40},
        "bargap": 0.04,
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
)


def as_json(figure: go.Figure) -> Figure:
    """A figure as plain JSON: numbers in lists, nothing that a program needs Plotly's decoder for."""
    figure.update_layout(template=TEMPLATE)
    content = _plain(figure.to_plotly_json())
    return Figure(data=content["data"], layout=content["layout"])


def _plain(value: Any) -> Any:
    """JSON types only: arrays and tuples become lists, numpy numbers become Python's, templates become dicts."""
    if hasattr(value, "to_plotly_json"):
        return _plain(value.to_plotly_json())
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value
