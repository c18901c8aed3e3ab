"""Does the ranking of an investigation hold without its approximations? One direction, differentiated exactly.

The refined direction of a finding is the posterior-weighted contrast of the suspects' unit gradients. Here it is formed
again in the space of all covered parameters, the curvature of EK-FAC is applied, and each suspect's loss is
differentiated along it in forward mode: nothing is projected or sketched. Of the engine only |g_i| is used.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.ekfac import EkfacFactors
from orfila_engine.jvp import directional_derivatives, weighted_gradient
from orfila_engine.progress import Progress, part, quiet


@dataclass(frozen=True)
class Confirmation:
    """How far the exact ranking of the suspects agrees with that of the finding."""

    n_suspects: int
    rank_correlation: float
    """Spearman's, of the collapse scores with the exact ones."""
    average_precision: float | None
    """Of the exact scores for the flagged images; None when nothing is flagged."""
    seconds: float

    def sentence(self) -> str:
        """For people."""
        ranks = f"Exact derivatives: rank correlation {self.rank_correlation:.2f} over {self.n_suspects:,} suspects"
        if self.average_precision is None:
            return f"{ranks}."
        return f"{ranks}, average precision {self.average_precision:.2f} for the flagged images."


def confirm(
    investigation: Path,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    factors: EkfacFactors,
    *,
    device: str = "auto",
    progress: Progress = quiet,
) -> Confirmation:
    """Confirm a finished investigation; writes confirmation.parquet beside it and `confirmation` into summary.json.

    factors: of this model. Raises ValueError when the investigation has fewer than two suspects.
    """
    began = time.perf_counter()
    names = ["suspect", "posterior", "self_influence", "collapse_score", "flagged"]
    table = pq.read_table(investigation / "scores.parquet", columns=names)
    columns = {name: table[name].to_numpy() for name in names}
    rows = np.flatnonzero(columns["suspect"])
    if len(rows) < 2:
        raise ValueError("the investigation has fewer than two suspects; there is no ranking to confirm")
    pixels, labels = packed.pixels[rows], packed.labels[rows]
    lengths = np.sqrt(columns["self_influence"][rows])
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    weights = _contrast(columns["posterior"][rows].astype(np.float64)) * inverse
    total = weighted_gradient(
        model, card, pixels, labels, weights.astype(np.float32), device=device, progress=part(progress, 0, 0.5)
    )
    covered = {n for layer in factors.hooked.layers for n in (layer.weight, layer.bias) if n is not None}
    direction = factors.inverse_product({name: g for name, g in total.items() if name in covered})
    exact = inverse * directional_derivatives(
        model, card, pixels, labels, direction, device=device, progress=part(progress, 0.5, 1)
    )
    flagged = columns["flagged"][rows]
    found = Confirmation(
        n_suspects=len(rows),
        rank_correlation=rank_correlation(columns["collapse_score"][rows], exact),
        average_precision=float(average_precision_score(flagged, exact)) if flagged.any() else None,
        seconds=round(time.perf_counter() - began, 2),
    )
    scores = {"index": pa.array(rows.astype(np.int32)), "exact_score": pa.array(exact.astype(np.float32))}
    pq.write_table(pa.table(scores), investigation / "confirmation.parquet")
    summary = json.loads((investigation / "summary.json").read_text())
    (investigation / "summary.json").write_text(json.dumps(summary | {"confirmation": asdict(found)}, indent=1))
    return found


def _contrast(posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [S] of the mean of what is called poison minus the mean of the rest."""
    rest = 1 - posterior
    return posterior / max(float(posterior.sum()), 1e-12) - rest / max(float(rest.sum()), 1e-12)


def rank_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two lists of numbers [N]; ties take the order in which they stand."""
    ranks = np.stack([values.argsort(kind="stable").argsort() for values in (one, other)])
    return float(np.asarray(np.corrcoef(ranks))[0, 1])
