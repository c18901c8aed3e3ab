"""The mixture, the collapse score and the paper rule, on fingerprints whose answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from orfila_engine.collapse import (
    FLAG_POSTERIOR,
    LEAST_POSTERIOR,
    collapse,
    flag_threshold,
    paper_rule,
    query_direction,
)
from orfila_engine.mixture import fit
from orfila_engine.suspects import FingerprintSuspects

D = 64


def two_groups(n_clean: int, n_poison: int, gap: float, seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Clean fingerprints around 0, poison around gap x one direction; shuffled."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n_clean + n_poison, D))
    truth = np.zeros(len(rows), dtype=bool)
    truth[rng.permutation(len(rows))[:n_poison]] = True
    rows[truth, 0] += gap
    return rows.astype(np.float16), truth


def self_influence(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    return np.square(rows.astype(np.float32)).sum(1)


def suspects_among(rows: NDArray[np.float16], indices: NDArray[np.int64]) -> FingerprintSuspects:
    return FingerprintSuspects(rows, self_influence(rows), indices)


def test_the_mixture_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 900), rng.normal(5, 0.5, 100)])
    mine = fit(x)
    theirs = GaussianMixture(2, tol=1e-9, max_iter=500, n_init=3, random_state=0).fit(x[:, None])
    upper = int(np.argmax(theirs.means_))
    assert mine.upper_mean == pytest.approx(theirs.means_[upper, 0], abs=1e-2)
    assert mine.upper_weight == pytest.approx(theirs.weights_[upper], abs=1e-3)
    assert mine.posterior(x) == pytest.approx(theirs.predict_proba(x[:, None])[:, upper], abs=1e-2)
    bic = [GaussianMixture(k, tol=1e-9, n_init=3, random_state=0).fit(x[:, None]).bic(x[:, None]) for k in (1, 2)]
    assert mine.gain == pytest.approx((bic[0] - bic[1]) / len(x), abs=1e-2)


@pytest.mark.parametrize("deviations", [(1.0, 0.2), (0.2, 1.0), (0.5, 0.5)])
def test_the_posterior_never_falls_as_the_score_rises(deviations: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, deviations[0], 500), rng.normal(2, deviations[1], 100)])
    posterior = fit(x).posterior(np.linspace(-20, 20, 2_000))
    assert np.all(np.diff(posterior) >= -1e-12)


def test_one_group_gains_nothing_and_equal_scores_do_not_break() -> None:
    assert fit(np.random.default_rng(0).normal(size=1_000)).gain < 0.01
    assert np.isfinite(fit(np.zeros(50)).gain)


def test_refinement_finds_the_poison_from_a_poor_direction() -> None:
    rows, truth = two_groups(950, 50, gap=8)
    rng = np.random.default_rng(1)
    start = rng.standard_normal(D)
    start[0] = 3 * np.linalg.norm(start[1:]) / np.sqrt(D)
    start = (start / np.linalg.norm(start)).astype(np.float32)
    suspects = np.arange(1_000)
    rough = collapse(suspects_among(rows, suspects), start, n_refinements=0)
    fine = collapse(suspects_among(rows, suspects), start)
    assert (rough.posterior > 0.9)[truth].mean() < 0.9
    assert np.array_equal(fine.posterior > 0.9, truth)
    assert abs(fine.direction[0]) > abs(start[0])
    assert np.array_equal(rough.score, fine.initial_score)
    assert fine.statistic > rough.statistic


def test_a_clean_majority_on_top_is_no_evidence() -> None:
    rows, _ = two_groups(200, 800, gap=8)
    direction = np.eye(D, dtype=np.float32)[0]
    assert collapse(suspects_among(rows, np.arange(1_000)), direction).statistic == 0


def test_few_suspects_give_no_mixture() -> None:
    rows, _ = two_groups(5, 2, gap=8)
    result = collapse(suspects_among(rows, np.arange(7)), np.eye(D, dtype=np.float32)[0])
    assert (result.mixture, result.statistic) == (None, 0.0)
    assert not result.posterior.any()


def test_verdicts_replace_posteriors_and_turn_the_direction() -> None:
    rows, truth = two_groups(900, 100, gap=2.5)
    direction = np.eye(D, dtype=np.float32)[1]
    known = np.flatnonzero(truth)[:30], np.flatnonzero(~truth)[:30]
    blind = collapse(suspects_among(rows, np.arange(1_000)), direction)
    told = collapse(
        suspects_among(rows, np.arange(1_000)),
        direction,
        confirmed_poison=known[0].tolist(),
        confirmed_clean=known[1].tolist(),
    )
    assert np.all(told.posterior[known[0]] == 1)
    assert np.all(told.posterior[known[1]] == 0)
    assert abs(told.direction[0]) > abs(blind.direction[0])


def test_the_direction_is_minus_the_mean_shift() -> None:
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((51, D)).astype(np.float32)
    rows = rng.standard_normal((20, D)).astype(np.float32)
    influence = rows @ queries.T
    shift = (influence[:, 1:] - influence[:, :1]).mean(1)
    along = rows @ query_direction([queries])
    assert np.corrcoef(along, -shift)[0, 1] > 0.9999
    several = query_direction([queries, 100 * queries[::-1]])
    assert np.linalg.norm(several) == pytest.approx(1)


def test_the_paper_rule_counts() -> None:
    shifts = np.full((4, 50), -1.0, dtype=np.float32)
    shifts[1, 0] = 1
    shifts[2, :2] = 1
    shifts[3] = 0
    count, flagged = paper_rule(shifts)
    assert count.tolist() == [50, 49, 48, 0]
    assert flagged.tolist() == [True, True, False, False]
    assert paper_rule(shifts, n_tolerate=2)[1].tolist() == [True, True, True, False]
    assert paper_rule(shifts, threshold=-2)[0].tolist() == [0, 0, 0, 0]


def test_borderline_images_are_flagged_where_hardly_any_flagged_image_is_clean() -> None:
    def threshold(*posteriors: float) -> float:
        return flag_threshold(np.array(posteriors, dtype=np.float32))

    assert threshold(*[1.0] * 100, 0.6, 0.55, 0.4) == LEAST_POSTERIOR
    assert threshold(*[1.0] * 60, 0.6, 0.55, 0.4) == pytest.approx(0.575), "one more would make .85 of 62 clean"
    assert threshold(*[0.95] * 20, 0.6) == FLAG_POSTERIOR, "each of them is likely poison, .05 of them are not"
    assert threshold(0.3, 0.2) == FLAG_POSTERIOR
    assert threshold() == FLAG_POSTERIOR


def test_a_majority_on_top_is_the_class_itself_and_nobody_is_called_poison() -> None:
    rng = np.random.default_rng(0)
    direction = np.zeros(16, dtype=np.float32)
    direction[0] = 1
    rows = rng.normal(0, 0.05, (400, 16)).astype(np.float32)
    rows[:, 0] += np.where(np.arange(400) < 320, 1.0, -1.0)  # four fifths of the suspects lie on top
    norms = (rows**2).sum(1).astype(np.float32)
    found = collapse(FingerprintSuspects(rows, norms, np.arange(400)), direction)
    assert found.mixture is not None
    assert found.mixture.upper_weight > 0.6
    assert found.posterior.max() == 0
    assert found.statistic == 0
    told = collapse(FingerprintSuspects(rows, norms, np.arange(400)), direction, confirmed_poison=[3])
    assert np.flatnonzero(told.posterior).tolist() == [3]


def grouped(n: int, natural: float, n_poison: int, seed: int = 0) -> NDArray[np.float16]:
    """n rows with a natural group along axis 1 that stands out, and after them n_poison rows along axis 0."""
    rows = np.random.default_rng(seed).standard_normal((n + n_poison, D))
    rows[: round(natural * n), 1] += 12
    rows[n:, 0] += 8
    return rows.astype(np.float16)


def cosines_of(rows: NDArray[np.float16]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    wide = rows.astype(np.float32)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return lambda direction: wide @ direction


def test_a_natural_group_is_no_poison_because_the_test_images_have_it_too() -> None:
    rows = grouped(900, 0.2, 100)
    start = np.zeros(D, dtype=np.float32)
    start[:2] = 0.6, 0.8  # the affected image's direction points more at the natural group than at the poison
    suspects = suspects_among(rows, np.arange(1_000))
    blind = collapse(suspects, start)
    assert np.mean(np.flatnonzero(blind.posterior > 0.9) >= 900) < 0.5
    told = collapse(suspects, start, counterparts=cosines_of(grouped(200, 0.2, 0, seed=1)))
    flagged = np.flatnonzero(told.posterior > 0.9)
    assert np.mean(flagged >= 900) > 0.97
    assert len(flagged) > 95
    assert told.counterparts is not None
    assert np.mean(told.counterparts > 0.5) < 0.02


def test_a_class_may_be_mostly_poison() -> None:
    rows = grouped(200, 0.2, 600)
    start = np.eye(D, dtype=np.float32)[0]
    suspects = suspects_among(rows, np.arange(800))
    assert not (collapse(suspects, start).posterior > 0.9).any()
    told = collapse(suspects, start, counterparts=cosines_of(grouped(200, 0.2, 0, seed=1)))
    assert not told.is_majority
    assert (told.posterior > 0.9)[200:].mean() > 0.95
    assert (told.posterior > 0.9)[:200].mean() < 0.05


def test_few_counterparts_are_left_aside() -> None:
    rows = grouped(900, 0.2, 100)
    suspects = suspects_among(rows, np.arange(1_000))
    start = np.eye(D, dtype=np.float32)[0]
    found = collapse(suspects, start, counterparts=cosines_of(grouped(9, 0.2, 0, seed=1)))
    assert found.counterparts is None
    assert np.array_equal(found.posterior, collapse(suspects, start).posterior)


def test_no_image_has_a_part_in_the_direction_that_scores_it() -> None:
    rows = np.random.default_rng(0).standard_normal((60, 400)).astype(np.float32)  # no group at all
    suspects = FingerprintSuspects(rows, np.square(rows).sum(1), np.arange(60))
    start = (rows[:12].sum(0) / np.linalg.norm(rows[:12].sum(0))).astype(np.float32)
    found = collapse(suspects, start, n_refinements=1)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    posterior = collapse(suspects, start, n_refinements=0).posterior.astype(np.float64)
    weights = posterior / posterior.sum() - (1 - posterior) / (1 - posterior).sum()
    length = np.linalg.norm(weights @ unit)
    without = [(weights @ unit - weights[i] * unit[i]) @ unit[i] / length for i in range(60)]
    assert found.score == pytest.approx(without, abs=1e-4)
    assert abs(np.corrcoef(found.score, posterior)[0, 1]) < 0.5 < np.corrcoef(unit @ found.direction, posterior)[0, 1]


def test_known_sides_stay_where_they_are_in_the_fit() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 500), rng.normal(3, 1, 100)])
    free = fit(x)
    known = np.full(len(x), np.nan)
    known[:500] = 0
    known[500:] = 1
    told = fit(x, known=known)
    assert told.upper_weight == pytest.approx(1 / 6)
    assert told.upper_mean == pytest.approx(x[500:].mean())
    assert told.lower_variance == pytest.approx(x[:500].var())
    assert free.upper_weight != pytest.approx(1 / 6, abs=1e-6)


def test_clean_scores_belong_to_the_lower_component() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 700), rng.normal(6, 1, 300)])
    natural = np.concatenate([rng.normal(0, 1, 140), rng.normal(6, 1, 60)])
    assert fit(x).upper_weight == pytest.approx(0.3, abs=0.02)
    assert (fit(x, clean=natural).posterior(x) > 0.5).mean() < 0.02
    assert fit(x, clean=rng.normal(0, 1, 200)).upper_weight == pytest.approx(0.3, abs=0.02)


def test_the_posterior_is_held_beyond_a_wide_tail_of_the_clean_scores() -> None:
    rng = np.random.default_rng(0)
    clean = rng.standard_t(2, 300)
    x = np.concatenate([rng.standard_t(2, 700), rng.normal(9, 0.5, 200)])
    found = fit(x, clean=clean)
    assert found.side is not None
    assert found.side.variance > found.upper_variance
    assert np.all(found.posterior(np.linspace(9, 40, 50)) > 0.9)
