"""Precision and recall with intervals, and what to judge next: known values, and coverage by simulation."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from orfila.columns import FLAG_SCORES, FLOAT_SCORES, Scores
from orfila.review.estimates import HALF_WIDTH, answers_needed, precision, recall, wilson
from orfila.review.informative import most_informative_first


def scored(posterior, flagged, suspect=None, *, rule_posterior=None, flagged_rule=None):
    """Scores of a case; all images are suspects, and nobody has judged, unless told otherwise."""
    n = len(posterior)
    numbers = {name: np.zeros(n, np.float32) for name in FLOAT_SCORES}
    flags = {name: np.zeros(n, bool) for name in FLAG_SCORES}
    numbers["posterior"] = posterior
    numbers["rule_posterior"] = posterior if rule_posterior is None else rule_posterior
    numbers["collapse_score"] = np.arange(n, dtype=np.float32)
    flags["flagged"] = flagged
    flags["flagged_rule"] = flagged if flagged_rule is None else flagged_rule
    flags["suspect"] = np.ones(n, bool) if suspect is None else suspect
    return Scores(pa.chunked_array([[""] * n]), np.zeros(n, np.int32), np.zeros(n, np.int32), numbers, flags)


def said_by(truth, images):
    return {int(i): "poison" if truth[i] else "clean" for i in images}


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
    flagged = posterior > 0.7
    scores = scored(posterior, flagged)
    said_precision, said_recall = precision(scores, {}), recall(scores, {})
    hits = np.zeros(2)
    for _ in range(2000):
        truth = rng.random(400) < posterior
        hits[0] += said_precision.low <= truth[flagged].mean() <= said_precision.high
        hits[1] += said_recall.low <= truth[flagged].sum() / truth.sum() <= said_recall.high
    assert (hits / 2000 > 0.93).all()
    assert (hits / 2000 < 0.97).all()


def test_verdicts_take_the_place_of_posteriors():
    posterior = np.array([0.99, 0.98, 0.95, 0.4, 0.1, 0.0], np.float32)
    scores = scored(posterior, posterior > 0.9, posterior > 0)
    assert recall(scores, {}).value == pytest.approx(2.92 / 3.42)
    said = {0: "poison", 1: "clean", 3: "poison", 2: "unsure"}
    assert precision(scores, said).value == 0.5, "one of two, and so the one that nobody is sure of"
    assert recall(scores, said).value == pytest.approx(1.95 / (1.95 + 1.1))
    outside = recall(scores, {5: "poison"})
    assert outside.value == pytest.approx(2.92 / 4.42), "a poison that nobody suspected is missed as well"


def test_what_is_wholly_judged_is_known_exactly():
    posterior = np.full(20, 0.95, np.float32)
    found = precision(scored(posterior, np.ones(20, bool)), {i: "poison" if i < 17 else "clean" for i in range(20)})
    assert (found.low, found.value, found.high) == (0.85, 0.85, 0.85)


def test_doubtful_images_judged_first_do_not_bend_the_estimate():
    """Certain images are poison in 97 of 100, doubtful ones in half; nearly all verdicts are on the doubtful ones."""
    rng = np.random.default_rng(1)
    posterior = np.r_[np.full(300, 1.0), np.full(100, 0.95)].astype(np.float32)
    scores = scored(posterior, np.ones(400, bool))
    covered, values, truths = 0, [], []
    for _ in range(600):
        truth = rng.random(400) < np.r_[np.full(300, 0.97), np.full(100, 0.5)]
        judged = [*rng.permutation(300)[:40], *(300 + rng.permutation(100)[:70])]
        found = precision(scores, said_by(truth, judged))
        covered += found.low <= truth.mean() <= found.high
        values.append(found.value)
        truths.append(truth.mean())
    assert covered / 600 > 0.93
    assert np.mean(values) == pytest.approx(np.mean(truths), abs=0.005)
    plain = np.mean([(40 * 0.97 + 70 * 0.5) / 110])
    assert abs(plain - np.mean(truths)) > 0.1, "what all verdicts together would have said"


def test_an_image_that_left_the_flagged_set_by_a_verdict_still_counts_against_the_others():
    """After learning, judged clean images are not flagged; those left were not better for that."""
    rule = np.full(100, 0.999, np.float32)
    said = {i: "clean" if i < 10 else "poison" for i in range(20)}
    posterior = rule.copy()
    posterior[:20] = [said[i] == "poison" for i in range(20)]
    scores = scored(posterior, posterior > 0.9, rule_posterior=rule, flagged_rule=rule > 0.9)
    assert precision(scores, said).value == pytest.approx((10 + 80 * 0.5) / 90)


def test_a_verdict_that_is_taken_back_after_learning_leaves_an_open_image():
    """Until the scores learn again the image is flagged, or not, as the verdict had it."""
    rule = np.full(10, 0.999, np.float32)
    for said, n_flagged in (("clean", 9), ("poison", 10)):
        posterior = rule.copy()
        posterior[0] = said == "poison"
        scores = scored(posterior, posterior > 0.9, rule_posterior=rule, flagged_rule=rule > 0.9)
        found = precision(scores, {1: "poison", 2: "clean"})
        assert found.value == pytest.approx((1 + (n_flagged - 2) / 2) / n_flagged)
        assert 0 < found.low < found.value < found.high <= 1
        assert sorted(most_informative_first(scores, {1: "poison", 2: "clean"}, np.random.default_rng(0), 100)) == [
            0,
            *range(3, 10),
        ]


def test_nothing_flagged_gives_no_number():
    scores = scored(np.zeros(5, np.float32), np.zeros(5, bool), np.zeros(5, bool))
    assert precision(scores, {}).value is None
    assert recall(scores, {}).value is None
    assert answers_needed(scores, {}) is None


@pytest.mark.parametrize("clean_in_ten", [0, 1, 4])
def test_answers_needed_reach_the_interval(clean_in_ten):
    rng = np.random.default_rng(2)
    posterior = np.r_[np.full(700, 1.0), np.full(300, 0.95)].astype(np.float32)
    scores = scored(posterior, np.ones(1000, bool))
    judged = {i: "clean" if i % 10 < clean_in_ten else "poison" for i in (*range(10), *range(700, 710))}
    more = answers_needed(scores, judged)
    order = most_informative_first(scores, judged, rng, 1000)
    for rows in ([i for i in order if i < 700], [i for i in order if i >= 700]):  # so that the shares stay
        judged |= {i: "clean" if place % 10 < clean_in_ten else "poison" for place, i in enumerate(rows)}
    for extra, met in ((round(1.1 * more) + 2, True), (round(0.8 * more), False)):
        kept = {i: said for i, said in judged.items() if i not in order[extra:]}
        found = precision(scores, kept)
        assert ((found.high - found.low) / 2 <= HALF_WIDTH) is met


def test_the_most_informative_order_names_each_undecided_suspect_once():
    rng = np.random.default_rng(3)
    posterior = np.r_[np.full(30, 1.0), np.full(30, 0.95), np.full(30, 0.5), np.linspace(0.09, 0, 30)].astype(
        np.float32
    )
    scores = scored(posterior, posterior > 0.9, np.arange(120) != 119)
    said = {0: "poison", 31: "clean", 62: "unsure", 100: "clean"}
    order = most_informative_first(scores, said, rng, 1000)
    assert sorted(order) == [i for i in range(119) if i not in said]
    assert set(order[:87]) == {i for i in range(90) if i not in said}, "what the rule says nothing of comes last"
    assert order[87:] == [i for i in range(90, 119) if i != 100], "by posterior"
    assert most_informative_first(scores, said, np.random.default_rng(3), 40) == order[:40]
    drawn = [i for i in order if i < 30]
    assert drawn != sorted(drawn), "drawn at random within a group"


def test_the_most_informative_order_certifies_sooner_than_a_random_one():
    """Flagged: 400 that are surely poison, and 100 that are so by half."""
    needed = {"informative": [], "random": []}
    posterior = np.r_[np.full(400, 1.0), np.full(100, 0.95)].astype(np.float32)
    scores = scored(posterior, np.ones(500, bool))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = rng.random(500) < np.r_[np.full(400, 1.0), np.full(100, 0.5)]
        needed["random"].append(_until_certified(scores, truth, partial(_keep, rng.permutation(500))))
        next_five = partial(most_informative_first, scores, rng=rng, limit=5)
        needed["informative"].append(_until_certified(scores, truth, next_five))
    assert np.mean(needed["informative"]) < 0.9 * np.mean(needed["random"])


def _keep(order, said):
    return order


def _until_certified(scores, truth, order_of):
    said = {}
    while True:
        found = precision(scores, said)
        if len(said) > 0 and (found.high - found.low) / 2 <= HALF_WIDTH:
            return len(said)
        new = [i for i in order_of(said) if int(i) not in said][:5]
        said |= said_by(truth, new)
