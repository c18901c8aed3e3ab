"""Agreement of reviewers: against scikit-learn and known identities, and through the API."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from orfila.review.agreement import VALUES, agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha
from orfila.review.models import Verdict

RNG = np.random.default_rng(0)


def test_cohen_is_scikit_learns():
    for _ in range(20):
        one, other = RNG.integers(0, 3, (2, 40))
        found = cohen_kappa(confusion_matrix(one, other, labels=[0, 1, 2]))
        assert found == pytest.approx(cohen_kappa_score(one, other))
    assert cohen_kappa(np.diag([5, 0, 0])) is None, "chance alone would agree always"
    assert cohen_kappa(np.zeros((3, 3), dtype=np.int64)) is None


def test_fleiss_of_two_is_scotts_pi():
    """Scott, Public Opinion Quarterly 19 (1955): chance by the pooled shares."""
    one, other = RNG.integers(0, 3, (2, 60))
    observed = float(np.mean(one == other))
    pooled = np.bincount(np.concatenate([one, other]), minlength=3) / 120
    expected = float(np.square(pooled).sum())
    kappa, raters, n = fleiss_kappa([Counter([a, b]) for a, b in zip(one.tolist(), other.tolist(), strict=True)])
    assert (raters, n) == (2, 60)
    assert kappa == pytest.approx((observed - expected) / (1 - expected))


def test_fleiss_takes_the_most_frequent_number_of_reviewers():
    """Three images by three reviewers: P = (1 + 1/3 + 1/3) / 3, shares 6/9 and 3/9, so kappa = (5/9 - 5/9) / (4/9)."""
    votes = [Counter({0: 3}), Counter({0: 2, 1: 1}), Counter({0: 1, 1: 2}), Counter({2: 2})]
    kappa, raters, n = fleiss_kappa(votes)
    assert (raters, n) == (3, 3)
    assert kappa == pytest.approx(0.0)
    assert fleiss_kappa([]) == (None, 0, 0)


def test_alpha_takes_images_that_only_some_have_judged():
    """By hand: pairs within units 1 to 3 are (a, a), (a, b), (b, b); observed disagreement 2/6, expected 18/30."""
    codes = {"x": {1: 0, 2: 0, 3: 1, 4: 0}, "y": {1: 0, 2: 1, 3: 1}, "z": {5: 1}}
    assert krippendorff_alpha(codes) == pytest.approx(1 - (2 / 6) / (18 / 30))
    every = {"x": {1: 0, 2: 0, 3: 1, 4: 2}, "y": {1: 1, 2: 2, 3: 1, 4: 2}}
    assert krippendorff_alpha(every) == pytest.approx(1 - (4 / 8) / (42 / 56)), "no value is nearer than another"
    assert krippendorff_alpha({"x": {1: 0}, "y": {1: 0}}) is None
    assert krippendorff_alpha({"x": {1: 0}, "y": {2: 1}}) is None


def test_the_time_of_an_image_is_that_of_single_verdicts_without_pauses():
    def seconds(*times):
        began = datetime(2026, 11, 28, tzinfo=UTC)
        made = [
            Verdict(image_index=i, verdict="clean", at=began + timedelta(seconds=second))
            for i, second in enumerate(times)
        ]
        [reviewer] = agreement((verdict, "Zoe") for verdict in made).reviewers
        return reviewer.seconds_per_image

    assert seconds(0, 10, 20, 30, 40) is None, "too few"
    assert seconds(0, 10, 20, 30, 40, 640) is None, "a pause"
    assert seconds(0, 10, 20, 30, 40, 55, 55, 55) is None, "a bulk verdict"
    assert seconds(0, 10, 20, 30, 42, 54, 654, 666) == 11


def test_reviewers_of_a_case(site):
    case = site.case()
    reviewer = site.person("Zoe", "reviewer")
    path = f"/cases/{case['id']}/verdicts"

    def judge(client, said):
        body = {"items": [{"index": i, "verdict": v} for i, v in said.items()]}
        assert client.post(f"/api/v1{path}", json=body).status_code == 200

    empty = site.get(f"/cases/{case['id']}/agreement")
    assert (empty["reviewers"], empty["pairs"], empty["krippendorff_alpha"]) == ([], [], None)
    judge(site.client, {0: "poison", 1: "poison", 2: "clean", 3: "unsure", 4: "poison"})
    judge(reviewer, {0: "poison", 1: "clean", 2: "clean", 3: "clean", 9: "poison"})
    judge(reviewer, {9: None})
    found = site.get(f"/cases/{case['id']}/agreement")
    [pair] = found["pairs"]
    assert (pair["n_shared"], pair["n_agreed"]) == (4, 2)
    assert pair["second"] == "Zoe"
    assert VALUES == ("poison", "clean", "unsure")
    assert pair["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    one, other = ["poison", "poison", "clean", "unsure"], ["poison", "clean", "clean", "clean"]
    assert pair["cohen_kappa"] == pytest.approx(cohen_kappa_score(one, other))
    assert (found["n_shared"], found["n_unanimous"], found["n_conflicts"], found["conflicts"]) == (4, 2, 1, [1])
    assert sorted(r["n_judged"] for r in found["reviewers"]) == [4, 5]
    assert (found["fleiss_raters"], found["n_fleiss"]) == (2, 4)
    assert found["krippendorff_alpha"] < 1
