"""A mixture of two normal distributions on a line, by expectation maximisation: poison scores beside clean ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_UPPER_SHARES = (0.03, 0.2, 0.5)
"""Starts of the first fit: this share of the highest scores is the upper component."""
_MAX_STEPS = 200
_TOLERANCE = 1e-7
_VARIANCE_FLOOR = 1e-3
"""Of the variance of all scores: a component may not collapse onto a few equal scores."""
_N_PARAMETERS = 5
_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Mixture:
    """Two components; the upper one has the higher mean."""

    lower_mean: float
    lower_variance: float
    upper_mean: float
    upper_variance: float
    upper_weight: float
    log_likelihood: float
    single_log_likelihood: float
    """Of one normal distribution fitted to the same scores."""
    n: int

    def posterior(self, scores: Floats) -> Floats:
        """Probability of the upper component, [N] -> [N], never falling as the score rises.

        With unequal variances the log ratio of the two densities is a parabola, which turns far outside the two means
        and would call the most extreme score of the narrower component improbable; beyond the turn it is held.
        """
        curvature = 1 / self.lower_variance - 1 / self.upper_variance
        if curvature != 0:
            turn = (self.lower_mean / self.lower_variance - self.upper_mean / self.upper_variance) / curvature
            scores = np.minimum(scores, turn) if curvature < 0 else np.maximum(scores, turn)
        ratio = (
            math.log(self.upper_weight / (1 - self.upper_weight))
            + _log_normal(scores, self.upper_mean, self.upper_variance)
            - _log_normal(scores, self.lower_mean, self.lower_variance)
        )
        return np.asarray(1 / (1 + np.exp(-np.clip(ratio, -60, 60))))

    @property
    def gain(self) -> float:
        """Gain in the Bayesian information criterion of two components over one, for each score (Schwarz 1978)."""
        extra = (_N_PARAMETERS - 2) * math.log(self.n)
        return (2 * (self.log_likelihood - self.single_log_likelihood) - extra) / self.n


def fit(scores: Floats, start: Floats | None = None) -> Mixture:
    """Fit the mixture to scores [N], N >= 4.

    start: [N] posteriors to start from; without it several starts are tried and the likeliest fit wins.
    """
    if start is not None:
        return _expectation_maximisation(scores, start)
    order = np.argsort(scores)
    fits = []
    for share in _UPPER_SHARES:
        upper = np.zeros(len(scores))
        upper[order[-max(2, round(share * len(scores))) :]] = 1
        fits.append(_expectation_maximisation(scores, upper))
    return max(fits, key=lambda m: m.log_likelihood)


def _expectation_maximisation(scores: Floats, responsibility: Floats) -> Mixture:
    n = len(scores)
    variance = max(float(scores.var()), 1e-12)
    floor = _VARIANCE_FLOOR * variance
    single = float(_log_normal(scores, float(scores.mean()), variance).sum())
    squares = scores**2
    previous = -math.inf
    for _ in range(_MAX_STEPS):
        mass = float(np.clip(responsibility.sum(), 1.0, n - 1.0))
        means, variances = [], []
        for weight, total in ((1 - responsibility, n - mass), (responsibility, mass)):
            mean = float(weight @ scores) / total
            means.append(mean)
            variances.append(max(float(weight @ squares) / total - mean**2, floor))
        lower = math.log(1 - mass / n) + _log_normal(scores, means[0], variances[0])
        upper = math.log(mass / n) + _log_normal(scores, means[1], variances[1])
        both = np.logaddexp(lower, upper)
        likelihood = float(both.sum())
        responsibility = np.exp(upper - both)
        if likelihood - previous < _TOLERANCE * n:
            break
        previous = likelihood
    low, high = (0, 1) if means[0] <= means[1] else (1, 0)
    return Mixture(
        lower_mean=means[low],
        lower_variance=variances[low],
        upper_mean=means[high],
        upper_variance=variances[high],
        upper_weight=mass / n if high == 1 else 1 - mass / n,
        log_likelihood=likelihood,
        single_log_likelihood=single,
        n=n,
    )


def _log_normal(x: Floats, mean: float, variance: float) -> Floats:
    return np.asarray(-0.5 * (_LOG_2PI + math.log(variance) + (x - mean) ** 2 / variance))
