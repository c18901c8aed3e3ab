"""A mixture of two normal distributions on a line, by expectation maximisation: poison scores beside clean ones.

Some scores may have a known side: those of images that a reviewer judged, and those of further images that are known to
be clean. A group that is as common among the known clean images as among the rest thereby joins the lower component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_UPPER_SHARES = (0.03, 0.2, 0.5)
"""Starts of the first fit: this share of the highest scores is the upper component."""
_SIDE_START = 0.8
"""Where known clean scores begin to count for the second part of the lower component in the first step: a quantile."""
_MAX_STEPS = 200
_TOLERANCE = 1e-7
_VARIANCE_FLOOR = 1e-3
"""Of the variance of all scores: a component may not collapse onto a few equal scores."""
_N_PARAMETERS = 5
_LEAST_DENSITY = 1e-300
_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Side:
    """The second part of the lower component: a natural group beside the others, or their tail."""

    share: float
    """Of the lower component."""
    mean: float
    variance: float


@dataclass(frozen=True)
class Mixture:
    """Two components; the upper one has the higher mean."""

    lower_mean: float
    lower_variance: float
    upper_mean: float
    upper_variance: float
    upper_weight: float
    log_likelihood: float
    """Of the scores, under the mixture."""
    single_log_likelihood: float
    """Of one normal distribution fitted to the same scores."""
    n: int
    side: Side | None = None
    """The second part of the lower component, where known clean scores anchor it."""

    def posterior(self, scores: Floats) -> Floats:
        """Probability of the upper component, [N] -> [N]; 0 where it is not the upper.

        It never falls as the score rises, but towards a side that lies above the upper component. With unequal
        variances the log ratio of two densities is a parabola, which turns far outside the two means and would call the
        most extreme score of the narrower component improbable; beyond the turn it is held.
        """
        if self.upper_mean <= self.lower_mean:
            return np.zeros(len(scores))
        ratio = self._ratio(scores, self.lower_mean, self.lower_variance)
        if self.side is not None:
            share, beside = self.side.share, self._ratio(scores, self.side.mean, self.side.variance)
            ratio = -np.logaddexp(math.log(1 - share) - ratio, math.log(share) - beside)
        ratio += math.log(self.upper_weight / (1 - self.upper_weight))
        return np.asarray(1 / (1 + np.exp(-np.clip(ratio, -60, 60))))

    def _ratio(self, scores: Floats, mean: float, variance: float) -> Floats:
        """log of the upper density over another one; held beyond its turn, if the other lies below."""
        curvature = 1 / variance - 1 / self.upper_variance
        if curvature != 0 and mean < self.upper_mean:
            turn = (mean / variance - self.upper_mean / self.upper_variance) / curvature
            scores = np.minimum(scores, turn) if curvature < 0 else np.maximum(scores, turn)
        return _log_normal(scores, self.upper_mean, self.upper_variance) - _log_normal(scores, mean, variance)

    @property
    def gain(self) -> float:
        """Gain in the Bayesian information criterion of two components over one, for each score (Schwarz 1978)."""
        extra = (_N_PARAMETERS - 2) * math.log(self.n)
        return (2 * (self.log_likelihood - self.single_log_likelihood) - extra) / self.n


def fit(
    scores: Floats, start: Floats | None = None, *, known: Floats | None = None, clean: Floats | None = None
) -> Mixture:
    """Fit the mixture to scores [N], N >= 4.

    start: [N] posteriors to start from; without it several starts are tried and the likeliest fit wins.
    known: [N] 1 for a score of the upper component, 0 for one of the lower, nan where nobody knows.
    clean: [T] further scores that belong to the lower component. Together they weigh as much as all N scores.
    """
    free = np.full(len(scores), np.nan) if known is None else known
    clean = np.empty(0) if clean is None else clean
    if start is not None:
        return _expectation_maximisation(scores, start, free, clean)[0]
    order = np.argsort(scores)
    fits = []
    for share in _UPPER_SHARES:
        upper = np.zeros(len(scores))
        upper[order[-max(2, round(share * len(scores))) :]] = 1
        fits.append(_expectation_maximisation(scores, upper, free, clean))
    return max(fits, key=lambda found: found[1])[0]


def _expectation_maximisation(
    scores: Floats, responsibility: Floats, known: Floats, clean: Floats
) -> tuple[Mixture, float]:
    """The mixture, and the log-likelihood that it maximises: that of the scores and of the weighted clean ones."""
    n = len(scores)
    variance = max(float(scores.var()), 1e-12)
    floor = _VARIANCE_FLOOR * variance
    single = float(_log_normal(scores, float(scores.mean()), variance).sum())
    judged = ~np.isnan(known)
    if len(clean):
        return _anchored(scores, responsibility, known, clean, single, floor)
    previous = -math.inf
    for _ in range(_MAX_STEPS):
        responsibility = np.where(judged, known, responsibility)
        mass = float(np.clip(responsibility.sum(), 1.0, n - 1.0))
        means, variances = zip(*(_moments(w, scores, floor) for w in (1 - responsibility, responsibility)), strict=True)
        lower = math.log(1 - mass / n) + _log_normal(scores, means[0], variances[0])
        upper = math.log(mass / n) + _log_normal(scores, means[1], variances[1])
        both = _log_sum(lower, upper)
        likelihood = float(both.sum())
        responsibility = np.exp(upper - both)
        if likelihood - previous < _TOLERANCE * n:
            break
        previous = likelihood
    low, high = (0, 1) if means[0] <= means[1] else (1, 0)
    found = Mixture(
        lower_mean=means[low],
        lower_variance=variances[low],
        upper_mean=means[high],
        upper_variance=variances[high],
        upper_weight=mass / n if high == 1 else 1 - mass / n,
        log_likelihood=likelihood,
        single_log_likelihood=single,
        n=n,
    )
    return found, likelihood


def _anchored(
    scores: Floats, responsibility: Floats, known: Floats, clean: Floats, single: float, floor: float
) -> tuple[Mixture, float]:
    """The same with known clean scores; the lower component has two parts, in one proportion for both kinds of score.

    One normal distribution cannot hold two natural groups, and would leave the upper one of them to the poison.
    """
    n = len(scores)
    weight = n / len(clean)
    judged = ~np.isnan(known)
    is_judged = bool(judged.any())
    # About their mean, so that variances from sums of squares keep their digits.
    centre = float(scores.mean())
    everyone = np.concatenate([scores, clean]) - centre
    powers = np.stack([np.ones_like(everyone), everyone, np.square(everyone)])
    # The parts start as the lower and the upper scores of the clean images.
    aside = (everyone > np.quantile(clean, _SIDE_START) - centre).astype(np.float64)
    weights, parts = np.empty_like(powers), np.empty_like(powers)  # of the scores in main, side and upper
    below = np.full(len(everyone), weight)
    weights[2, n:] = 0
    previous = -math.inf
    for _ in range(_MAX_STEPS):
        if is_judged:
            responsibility = np.where(judged, known, responsibility)
        mass = min(max(float(responsibility.sum()), 1.0), n - 1.0)
        np.subtract(1, responsibility, out=below[:n])
        np.multiply(below, aside, out=weights[1])
        np.subtract(below, weights[1], out=weights[0])
        weights[2, :n] = responsibility
        sums = (weights @ powers.T).tolist()
        share = min(max(sums[1][0] / (sums[0][0] + sums[1][0]), 1e-3), 1 - 1e-3)
        moments = [_moments_of(each, floor) for each in sums]
        below_weight = 1 - mass / n
        shares = (below_weight * (1 - share), below_weight * share, mass / n)
        densities = [_log_normal_of(*each, of) for each, of in zip(moments, shares, strict=True)]
        np.matmul(np.array(densities), powers, out=parts)
        parts[2, n:] = -math.inf
        # Densities over the greatest of each score, so that none of them is lost; one pass of exponentials for all.
        greatest = np.maximum(np.maximum(parts[0], parts[1]), parts[2])
        parts -= greatest
        np.exp(parts, out=parts)
        lower = parts[0] + parts[1]
        total = lower + parts[2]
        aside = parts[1] / np.maximum(lower, _LEAST_DENSITY)
        responsibility = parts[2, :n] / total[:n]
        logs = np.log(total)
        logs += greatest
        anchored = weight * (float(logs[n:].sum()) - len(clean) * math.log(below_weight))
        likelihood = float(logs[:n].sum()) + anchored
        if likelihood - previous < _TOLERANCE * n:
            break
        previous = likelihood
    main, side, above = ((mean + centre, variance) for mean, variance in moments)
    if share > 0.5:
        main, side, share = side, main, 1 - share
    found = Mixture(
        lower_mean=main[0],
        lower_variance=main[1],
        upper_mean=above[0],
        upper_variance=above[1],
        upper_weight=mass / n,
        log_likelihood=likelihood - anchored,
        single_log_likelihood=single,
        n=n,
        side=Side(share, *side),
    )
    return found, likelihood if main[0] < above[0] else -math.inf


def _moments(weights: Floats, values: Floats, floor: float) -> tuple[float, float]:
    total = max(float(weights.sum()), 1e-12)
    mean = float(weights @ values) / total
    return mean, max(float(weights @ np.square(values - mean)) / total, floor)


def _moments_of(sums: list[float], floor: float) -> tuple[float, float]:
    """Mean and variance from sums over weights, weighted values and weighted squares."""
    total = max(sums[0], 1e-12)
    mean = sums[1] / total
    return mean, max(sums[2] / total - mean**2, floor)


def _log_normal_of(mean: float, variance: float, weight: float) -> tuple[float, float, float]:
    """Coefficients of 1, x and x^2 in the logarithm of a weighted normal density."""
    constant = math.log(weight) - 0.5 * (_LOG_2PI + math.log(variance) + mean**2 / variance)
    return constant, mean / variance, -0.5 / variance


def _log_sum(a: Floats, b: Floats) -> Floats:
    """log(e^a + e^b). numpy's own takes one number at a time, which was most of the time of a fit."""
    return np.asarray(np.maximum(a, b) + np.log(1 + np.exp(-np.abs(a - b))))


def _log_normal(x: Floats, mean: float, variance: float) -> Floats:
    return np.asarray(-0.5 * (_LOG_2PI + math.log(variance) + (x - mean) ** 2 / variance))
