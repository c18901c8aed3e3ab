"""From gradients to a set of suspects: collapse direction, score, mixture, refinement, mark (docs/method.md).

Layout: query fingerprints are [1 + n_b, D] for one affected image, row 0 the affected image itself with the label that
it received, the others its transformed queries. The training images' gradients are seen through `SuspectGradients`.

Two precautions keep the refinement honest. No image has a part in the direction that scores it (leave one out);
otherwise whoever is once called poison pulls the direction to itself and is called so again. And the lower component
must also hold `counterparts`: test images that carry the suspects' label. A natural group, such as the ones with a flag
among the handwritten 1, is among them too; poison is only in the training data (decision 8).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from orfila_engine.mark import Mark, Pictures, join
from orfila_engine.mixture import Mixture, fit
from orfila_engine.natural import MIN_COUNTERPARTS
from orfila_engine.suspects import Direction, SuspectGradients, Vector, unit

N_REFINEMENTS = 6
FLAG_POSTERIOR = 0.9
"""An image with a greater posterior is flagged."""
LEAST_POSTERIOR = 0.5
"""Nor is one with a smaller posterior; in between `flag_threshold` decides."""
FALSE_SHARE = 0.01
"""Of the flagged images, expected to be clean at most, if images of less than FLAG_POSTERIOR are to be flagged."""
N_TOLERATE = 1
MIN_SUSPECTS = 10
"""Fewer scores than this hold no two components worth telling apart."""
MAX_MINORITY = 0.6
"""Without counterparts, an upper component with a greater share of the suspects is the clean majority, not poison."""


@dataclass(frozen=True)
class Collapse(Generic[Direction]):
    """What the suspects' scores say. S suspects."""

    suspects: NDArray[np.int64]
    """[S] `index` of each suspect, ascending."""
    initial_score: Vector
    """[S] cosine with the direction of the affected images, before refinement."""
    score: Vector
    """[S] collapse score: cosine with the refined direction, less the image's own part in it."""
    posterior: Vector
    """[S] probability of being poison."""
    direction: Direction
    """The refined direction, of unit length; [D] for fingerprints."""
    alignment: float
    """Cosine of the refined direction with the direction that the affected images gave."""
    mixture: Mixture | None
    """None when there are too few suspects."""
    counterparts: Vector | None
    """[T] probability that each counterpart is of the poison's kind; None without counterparts."""
    rule_posterior: Vector
    """[S] the posterior that each image would have without a verdict of its own."""
    mark: Mark | None = None
    """What the pictures of the poison share, where it has a part in the posteriors."""

    @property
    def threshold(self) -> float:
        """Posterior above which a suspect is flagged."""
        return flag_threshold(self.posterior)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """[S] the automatic set."""
        return np.asarray(self.posterior > self.threshold)

    @property
    def statistic(self) -> float:
        """Gain in BIC for each suspect times the alignment: how far the poison stands out in the affected image's view.

        The gain alone says that the suspects fall into two groups; the alignment says how much of the separation the
        affected image itself points at (decision 7). 0 where the upper component is the clean majority.
        """
        if self.mixture is None or self.is_majority:
            return 0.0
        return max(0.0, self.mixture.gain) * max(0.0, self.alignment)

    @property
    def is_majority(self) -> bool:
        """Whether the upper component is taken for the class itself, because most suspects lie there."""
        return self.mixture is not None and self.counterparts is None and self.mixture.upper_weight > MAX_MINORITY


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
    counterparts: Callable[[Direction], Vector] | None = None,
    pictures: Pictures | None = None,
    confirmed_poison: Collection[int] = (),
    confirmed_clean: Collection[int] = (),
    n_refinements: int = N_REFINEMENTS,
) -> Collapse[Direction]:
    """Score S suspects along a direction of unit length, fit the mixture, and refine the direction.

    Each refinement replaces the direction by the posterior-weighted mean unit gradient of the upper component minus
    that of the lower.

    counterparts: gives the cosines [T] of test images that carry the suspects' label with a direction; they are clean.
    pictures: spectra of the same suspects and counterparts. Where those of the upper component share a mark, it has a
    part in the posteriors, and the direction is refined once more with them.
    confirmed_poison, confirmed_clean: reviewers' verdicts by `index`; they replace posteriors by 1 and 0.
    """
    indices = suspects.indices
    known = np.full(len(indices), np.nan)
    known[np.isin(indices, list(confirmed_poison))] = 1
    known[np.isin(indices, list(confirmed_clean))] = 0
    initial = suspects.cosines(direction)
    if len(indices) < MIN_SUSPECTS:
        posterior = np.nan_to_num(known).astype(np.float32)
        nobody = np.zeros(len(indices), dtype=np.float32)
        return Collapse(indices, initial, initial, posterior, direction, 1.0, None, None, nobody)
    clean = counterparts(direction) if counterparts is not None else None
    if clean is not None and len(clean) < MIN_COUNTERPARTS:
        counterparts = clean = None
    scores, start = initial, direction
    mixture, posterior, by_rule = _fit(scores, None, known, clean)

    def refine() -> tuple[Direction, Vector, Vector | None]:
        """A new direction, the suspects' scores along it, and the counterparts'."""
        weights = _contrast(posterior)
        refined = suspects.contrast(weights)
        cosines = suspects.cosines(refined)
        # |sum_i w_i u_i| = sum_i w_i cos_i: what `contrast` divided by. Suspect i's own part is w_i u_i . u_i = w_i.
        length = max(float(weights @ cosines), 1e-12)
        return refined, cosines - weights / length, counterparts(refined) if counterparts is not None else None

    for _ in range(n_refinements):
        direction, scores, clean = refine()
        mixture, posterior, by_rule = _fit(scores, posterior, known, clean)
    innocent = None if clean is None else mixture.posterior(clean.astype(np.float64))
    joined = None
    if pictures is not None and innocent is not None and len(innocent) == len(pictures.counterparts):
        joined = join(by_rule, mixture.upper_weight, innocent, pictures, known)
    if joined is not None:
        posterior, innocent, by_rule = joined.posterior, joined.counterparts, joined.rule_posterior
        direction, scores, clean = refine()
        mixture, *_ = _fit(scores, posterior, known, clean)
    found = Collapse(
        indices,
        initial,
        scores,
        posterior.astype(np.float32),
        direction,
        suspects.inner(start, direction),
        mixture,
        None if innocent is None else innocent.astype(np.float32),
        by_rule.astype(np.float32),
        None if joined is None else joined.mark,
    )
    if found.is_majority:
        # Nobody is called poison without a verdict.
        nobody = np.zeros(len(indices), dtype=np.float32)
        return replace(found, posterior=np.nan_to_num(known).astype(np.float32), rule_posterior=nobody)
    return found


def flag_threshold(posterior: Vector) -> float:
    """Posterior above which images are flagged, from all posteriors [S].

    FLAG_POSTERIOR, or less where the flagged images stand apart so clearly that more of them can be had for next to
    nothing: down to LEAST_POSTERIOR, while the share of clean images expected among the flagged (the mean of 1 -
    posterior, a Bayesian false discovery rate: Newton 2004, doi 10.1093/biostatistics/5.2.155) is at most FALSE_SHARE.
    """
    likely = np.sort(posterior[posterior > LEAST_POSTERIOR].astype(np.float64))[::-1]
    expected = np.cumsum(1 - likely) / np.arange(1, len(likely) + 1)
    n_flagged = int((expected <= FALSE_SHARE).sum())  # `expected` never falls
    if n_flagged == 0:
        return FLAG_POSTERIOR
    if n_flagged == len(likely):
        return LEAST_POSTERIOR
    # Between two posteriors, so that rounding on the way to a browser changes nobody's side.
    return min(FLAG_POSTERIOR, float(likely[n_flagged - 1] + likely[n_flagged]) / 2)


def paper_rule(
    shifts: Vector, *, threshold: float = 0.0, n_tolerate: int = N_TOLERATE
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The rule of Delta-Influence (arXiv 2411.13731): how many shifts [n, n_b] lie below the threshold, and the flags.

    Training image i is flagged when at least n_b - n_tolerate of its shifts do.
    """
    count = (shifts < threshold).sum(1).astype(np.int16)
    return count, count >= shifts.shape[1] - n_tolerate


def _fit(
    scores: Vector, start: NDArray[np.float64] | None, known: NDArray[np.float64], clean: Vector | None
) -> tuple[Mixture, NDArray[np.float64], NDArray[np.float64]]:
    """The mixture, and posteriors [S] with the verdicts in them and without."""
    wide = scores.astype(np.float64)
    mixture = fit(wide, start, known=known, clean=None if clean is None else clean.astype(np.float64))
    by_rule = mixture.posterior(wide)
    return mixture, np.where(np.isnan(known), by_rule, known), by_rule


def _contrast(posterior: NDArray[np.float64]) -> Vector:
    """Weights [S] of the mean of the upper component minus the mean of the lower."""
    upper = posterior / max(float(posterior.sum()), 1e-12)
    lower = (1 - posterior) / max(float((1 - posterior).sum()), 1e-12)
    return np.asarray(upper - lower, dtype=np.float32)
