"""From fingerprints to a set of suspects: collapse direction, collapse score, mixture, refinement (docs/method.md).

Layout: training fingerprints phi are [n, D], one row for each training image, whitened, so that influence is an inner
product; query fingerprints are [1 + n_b, D] for one affected image, row 0 the affected image itself with the label that
it received, the others its transformed queries. Both may be float16 and memory-mapped: rows are read in blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from orfila_engine.mixture import Mixture, fit
from orfila_engine.suspects import Direction, SuspectGradients, Vector, unit

N_REFINEMENTS = 6
FLAG_POSTERIOR = 0.9
N_TOLERATE = 1
MIN_SUSPECTS = 10
"""Fewer scores than this hold no two components worth telling apart."""
_MAX_MINORITY = 0.6
"""An upper component with a greater share of the suspects is the clean majority, not poison."""


@dataclass(frozen=True)
class Collapse(Generic[Direction]):
    """What the suspects' scores say. S suspects."""

    suspects: NDArray[np.int64]
    """[S] `index` of each suspect, ascending."""
    initial_score: Vector
    """[S] cosine with the direction of the affected images, before refinement."""
    score: Vector
    """[S] collapse score: cosine with the refined direction."""
    posterior: Vector
    """[S] probability of being poison."""
    direction: Direction
    """The refined direction, of unit length; [D] for fingerprints."""
    alignment: float
    """Cosine of the refined direction with the direction that the affected images gave."""
    mixture: Mixture | None
    """None when there are too few suspects."""

    @property
    def statistic(self) -> float:
        """The evidence statistic: gain in BIC for each suspect times the alignment; 0 for a clean majority on top.

        The gain alone says that the suspects fall into two groups. Where a label does hold poison, refinement finds it
        from an ordinary image of that label too, so a large gain is no evidence that the poison explains *this* image;
        the alignment says how much of the separation its own collapse points at. Measured on BadNet (CIFAR-10 and
        digits): affected images .34 to 1.4, ordinary ones at most .25, while their gains reach that of the poison.
        """
        if self.mixture is None or self.mixture.upper_weight > _MAX_MINORITY:
            return 0.0
        return max(0.0, self.mixture.gain) * max(0.0, self.alignment)


def query_direction(queries: Sequence[Vector]) -> Vector:
    """The collapse direction v of one or several affected images.

    queries: for each affected image [1 + n_b, D]. v_q = phi(h_q) - mean_j phi(h_qj); v = mean of v_q / |v_q|, returned
    with unit length. Its inner product with phi(g_i) is minus the mean influence shift of training image i.
    """
    total = np.zeros(queries[0].shape[1], dtype=np.float64)
    for rows in queries:
        shift = rows[0].astype(np.float64) - rows[1:].mean(0, dtype=np.float64)
        total += shift / max(float(np.linalg.norm(shift)), 1e-30)
    return unit(total)


def collapse(
    suspects: SuspectGradients[Direction],
    direction: Direction,
    *,
    confirmed_poison: Collection[int] = (),
    confirmed_clean: Collection[int] = (),
    n_refinements: int = N_REFINEMENTS,
) -> Collapse[Direction]:
    """Score S suspects along a direction of unit length, fit the mixture, and refine the direction.

    Each refinement replaces the direction by the posterior-weighted mean unit gradient of the upper component minus
    that of the lower. confirmed_poison, confirmed_clean: reviewers' verdicts by `index`; they replace posteriors by 1
    and 0.
    """
    indices = suspects.indices
    known = np.full(len(indices), np.nan)
    known[np.isin(indices, list(confirmed_poison))] = 1
    known[np.isin(indices, list(confirmed_clean))] = 0
    initial = suspects.cosines(direction)
    if len(indices) < MIN_SUSPECTS:
        posterior = np.nan_to_num(known).astype(np.float32)
        return Collapse(indices, initial, initial, posterior, direction, 1.0, None)
    scores, start = initial, direction
    mixture = fit(scores.astype(np.float64))
    posterior = _with_verdicts(mixture, scores, known)
    for _ in range(n_refinements):
        direction = suspects.contrast(_contrast(posterior))
        scores = suspects.cosines(direction)
        mixture = fit(scores.astype(np.float64), start=posterior)
        posterior = _with_verdicts(mixture, scores, known)
    alignment = suspects.inner(start, direction)
    if mixture.upper_weight > _MAX_MINORITY:
        # Most of the suspects lie on top: that is the class itself, and nobody is called poison without a verdict.
        posterior = np.nan_to_num(known)
    return Collapse(indices, initial, scores, posterior.astype(np.float32), direction, alignment, mixture)


def paper_rule(
    shifts: Vector, *, threshold: float = 0.0, n_tolerate: int = N_TOLERATE
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The rule of Delta-Influence (arXiv 2411.13731): how many shifts [n, n_b] lie below the threshold, and the flags.

    Training image i is flagged when at least n_b - n_tolerate of its shifts do.
    """
    count = (shifts < threshold).sum(1).astype(np.int16)
    return count, count >= shifts.shape[1] - n_tolerate


def _with_verdicts(mixture: Mixture, scores: Vector, known: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(known), mixture.posterior(scores.astype(np.float64)), known)


def _contrast(posterior: NDArray[np.float64]) -> Vector:
    """Weights [S] of the mean of the upper component minus the mean of the lower."""
    upper = posterior / max(float(posterior.sum()), 1e-12)
    lower = (1 - posterior) / max(float((1 - posterior).sum()), 1e-12)
    return np.asarray(upper - lower, dtype=np.float32)
