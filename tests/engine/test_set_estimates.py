"""What posteriors say about the precision and recall of a flagged set."""

import numpy as np
import pytest

from orfila_engine.estimates import estimate_precision, estimate_recall


def test_estimates_cover_the_truth_of_draws_from_the_posteriors() -> None:
    rng = np.random.default_rng(0)
    posterior = rng.beta(0.3, 0.6, 500).astype(np.float32)
    flagged = posterior > 0.5
    precision, recall = estimate_precision(posterior, flagged), estimate_recall(posterior, flagged)
    inside = np.zeros(2)
    for _ in range(1_000):
        truth = rng.random(500) < posterior
        hits = (truth & flagged).sum()
        for k, (value, estimate) in enumerate(((hits / flagged.sum(), precision), (hits / truth.sum(), recall))):
            inside[k] += estimate.low <= value <= estimate.high  # type: ignore[operator]
    assert np.all(inside / 1_000 > 0.93)
    assert np.all(inside / 1_000 < 0.97)


def test_an_interval_is_the_formula() -> None:
    posterior = np.array([0.9, 0.8, 0.3, 0.1], np.float32)
    recall = estimate_recall(posterior, posterior > 0.5)
    found, missed = 1.7, 0.4
    variance = (missed**2 * (0.9 * 0.1 + 0.8 * 0.2) + found**2 * (0.3 * 0.7 + 0.1 * 0.9)) / (found + missed) ** 4
    assert recall.value == pytest.approx(found / (found + missed))
    assert recall.low == pytest.approx(found / (found + missed) - 1.959964 * variance**0.5, abs=1e-6)
    precision = estimate_precision(posterior, posterior > 0.5)
    assert (precision.value, precision.high) == (pytest.approx(0.85), 1.0)
    assert precision.low == pytest.approx(0.85 - 1.959964 * (0.9 * 0.1 + 0.8 * 0.2) ** 0.5 / 2, abs=1e-6)


def test_nothing_flagged_gives_no_precision() -> None:
    nothing = np.zeros(3, dtype=bool)
    assert estimate_precision(np.array([0.1, 0.2, 0.3], np.float32), nothing).value is None
    assert estimate_recall(np.zeros(3, np.float32), nothing).value is None
