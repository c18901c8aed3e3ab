"""What posteriors say about the precision and recall of a flagged set, before anybody has looked at an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964
"""97.5 % quantile of the normal distribution: 95 % intervals."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; all None where there is nothing to estimate from."""

    value: float | None
    low: float | None
    high: float | None
    method: str


def estimate_precision(posterior: NDArray[np.float32], flagged: NDArray[np.bool_]) -> Estimate:
    """Expected share of poison among the flagged images, from the posteriors [S] and flags [S] of the suspects.

    With independent images TP = sum of p over the flagged, variance sum p (1 - p); precision = TP / n_flagged.
    """
    method = "Mean posterior of the flagged images; interval from the variance of as many independent draws."
    p = posterior[flagged].astype(np.float64)
    if len(p) == 0:
        return Estimate(None, None, None, method)
    return _interval(float(p.mean()), math.sqrt(float((p * (1 - p)).sum())) / len(p), method)


def estimate_recall(posterior: NDArray[np.float32], flagged: NDArray[np.bool_]) -> Estimate:
    """Expected share of the poison among the suspects that is flagged, from posteriors [S] and flags [S].

    TP as in `estimate_precision`, FN = sum of p over the others, recall = TP / (TP + FN); its variance by the delta
    method: (FN^2 var TP + TP^2 var FN) / (TP + FN)^4.
    """
    method = (
        "Posteriors summed over the flagged images, as a share of their sum over all suspects; delta-method interval."
    )
    p = posterior.astype(np.float64)
    spread = p * (1 - p)
    found, missed = float(p[flagged].sum()), float(p[~flagged].sum())
    if found + missed <= 0:
        return Estimate(None, None, None, method)
    variance = missed**2 * float(spread[flagged].sum()) + found**2 * float(spread[~flagged].sum())
    return _interval(found / (found + missed), math.sqrt(variance) / (found + missed) ** 2, method)


def _interval(value: float, deviation: float, method: str) -> Estimate:
    return Estimate(value, max(0.0, value - _Z * deviation), min(1.0, value + _Z * deviation), method)
