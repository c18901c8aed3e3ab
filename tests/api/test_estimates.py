"""Precision and recall with intervals: known values, and coverage by simulation."""

import numpy as np
import pytest

from orfila.review.estimates import answers_needed, precision, recall, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(hits, n, low, high):
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_intervals_from_posteriors_cover_the_truth():
    rng = np.random.default_rng(0)
    posterior = rng.beta(0.3, 0.3, 400).astype(np.float32)
    flagged, suspect = posterior > 0.7, np.ones(400, bool)
    said_precision, said_recall = precision(posterior, flagged, {}), recall(posterior, flagged, suspect, {})
    hits = np.zeros(2)
    for _ in range(2000):
        truth = rng.random(400) < posterior
        hits[0] += said_precision.low <= truth[flagged].mean() <= said_precision.high
        hits[1] += said_recall.low <= truth[flagged].sum() / truth.sum() <= said_recall.high
    assert (hits / 2000 > 0.93).all()
    assert (hits / 2000 < 0.97).all()


def test_verdicts_take_the_place_of_posteriors():
    posterior = np.array([0.99, 0.99, 0.95, 0.4, 0.1, 0.0], np.float32)
    flagged, suspect = posterior > 0.9, posterior > 0
    assert recall(posterior, flagged, suspect, {}).value == pytest.approx(2.93 / 3.43)
    said = {0: "poison", 1: "clean", 3: "poison", 2: "unsure"}
    assert precision(posterior, flagged, said).value == 0.5
    assert recall(posterior, flagged, suspect, said).value == pytest.approx(1.95 / (1.95 + 1.1))
    outside = recall(posterior, flagged, suspect, {5: "poison"})
    assert outside.value == pytest.approx(2.93 / 4.43), "a poison that nobody suspected is missed as well"


def test_nothing_flagged_gives_no_number():
    posterior, none = np.zeros(5, np.float32), np.zeros(5, bool)
    assert precision(posterior, none, {}).value is None
    assert recall(posterior, none, none, {}).value is None
    assert answers_needed(None, 0, 0) is None


def test_answers_needed_reach_the_interval():
    more = answers_needed(0.95, 20, 1000)
    low, high = wilson(0.95 * (20 + more), 20 + more)
    assert (high - low) / 2 <= 0.05
    low, high = wilson(0.95 * (19 + more), 19 + more)
    assert (high - low) / 2 > 0.05
    assert answers_needed(0.5, 0, 10) == 10
