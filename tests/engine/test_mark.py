"""What flagged pictures share: found where poison carries a trace, and not where a natural group or nobody does."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.fft import idctn
from torch import nn

from orfila_engine import mark as rule
from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import Collapse, collapse
from orfila_engine.data import PackedDataset
from orfila_engine.drill import DrillResult
from orfila_engine.evidence import p_group
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.mark import MIN_MARKED, N_BANDS, Pictures, pictures_of, spectra
from orfila_engine.suspects import FingerprintSuspects, Vector

D = 32
N_SUSPECTS, N_POISON, N_PLAIN, N_COUNTERPARTS = 600, 120, 40, 200
"""The first N_POISON suspects are poison; of these only the first N_PLAIN have gradients that say so."""
POISON = np.arange(N_SUSPECTS) < N_POISON


def found(
    shown: Pictures | None = None, *, n_plain: int = N_PLAIN, poison: Sequence[int] = (), clean: Sequence[int] = ()
) -> Collapse[Vector]:
    """What the rule says of them, with their pictures or without; poison and clean are verdicts."""
    rows = np.random.default_rng(0).standard_normal((N_SUSPECTS, D)).astype(np.float32)
    rows[:n_plain, 0] += 8
    theirs = np.random.default_rng(1).standard_normal((N_COUNTERPARTS, D)).astype(np.float32)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    return collapse(
        FingerprintSuspects(rows, np.square(rows).sum(1), np.arange(N_SUSPECTS)),
        np.eye(D, dtype=np.float32)[0],
        counterparts=lambda v: np.asarray(theirs @ v, dtype=np.float32),
        pictures=shown,
        confirmed_poison=poison,
        confirmed_clean=clean,
    )


def pictures(marked: NDArray[np.bool_], marked_counterparts: float = 0.0, strength: float = 9.0) -> Pictures:
    """Spectra of noise, of which some carry more of the finest detail."""
    rng = np.random.default_rng(2)
    suspects, counterparts = (
        rng.standard_normal((n, N_BANDS)).astype(np.float32) for n in (len(marked), N_COUNTERPARTS)
    )
    suspects[marked, -1] += strength
    counterparts[: round(marked_counterparts * N_COUNTERPARTS), -1] += strength
    return Pictures(suspects, counterparts)


def test_poison_whose_gradients_say_little_is_found_by_what_it_shares_with_the_rest() -> None:
    before, after = found(), found(pictures(POISON))
    assert before.flagged.sum() == pytest.approx(N_PLAIN, abs=3)
    assert (after.flagged != POISON).sum() <= 1
    assert after.mark is not None
    assert after.mark.share_suspects == pytest.approx(N_POISON / N_SUSPECTS, abs=0.01)
    assert after.mark.share_counterparts == 0
    assert after.mark.separation == pytest.approx(9, abs=1)
    assert after.mark.score[~POISON].mean() == pytest.approx(0, abs=0.2)
    assert after.counterparts is not None
    assert after.counterparts.max() < 0.5


def test_the_evidence_is_that_of_both_views() -> None:
    """Too few stand out by their gradients to call the group unnatural; with the mark there are enough."""
    alone, _ = p_group(found(n_plain=14))
    both, _ = p_group(found(pictures(POISON), n_plain=14))
    assert alone > 0.05
    assert both < 1e-6


def test_the_mark_is_told_in_words_and_as_numbers() -> None:
    mark = found(pictures(POISON)).mark
    assert mark is not None
    told = mark.described()
    assert "score" not in told
    assert json.loads(json.dumps(told)) == told
    assert mark.strongest == N_BANDS - 1
    assert mark.profile[-1] == pytest.approx(np.exp(9), rel=0.3)
    assert mark.profile[0] == pytest.approx(1, abs=0.3)
    assert "in fine detail (brightness)" in told["sentence"]
    assert f"0 of {N_COUNTERPARTS} clean test images" in told["sentence"]


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(lambda: pictures(POISON, marked_counterparts=0.2), id="clean test images have it as often"),
        pytest.param(lambda: pictures(np.zeros(N_SUSPECTS, dtype=bool)), id="nobody has it"),
        pytest.param(lambda: pictures(np.arange(N_SUSPECTS) >= 480), id="others have it"),
    ],
)
def test_what_the_poison_does_not_share_changes_nothing(shown: Callable[[], Pictures]) -> None:
    before, after = found(), found(shown())
    assert after.mark is None
    assert np.array_equal(after.posterior, before.posterior)
    assert np.array_equal(after.score, before.score)


def test_few_images_called_poison_teach_nothing() -> None:
    after = found(pictures(POISON), n_plain=MIN_MARKED - 3)
    assert after.flagged.any()
    assert after.mark is None


def test_marks_are_rare_where_there_is_no_poison() -> None:
    """Groups that the gradients happen to form share nothing that test images have not."""
    accepted = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        called = np.where(rng.random(N_SUSPECTS) < 0.1, 0.95, 0.02)
        shown = Pictures(*(rng.standard_normal((n, 3 * N_BANDS)) for n in (N_SUSPECTS, N_COUNTERPARTS)))  # type: ignore[arg-type]
        free = np.full(N_SUSPECTS, np.nan)
        accepted += rule.join(called, 0.1, np.full(N_COUNTERPARTS, 0.02), shown, free) is not None
    assert accepted <= 2


def test_a_verdict_outweighs_the_mark() -> None:
    innocent, guilty = 100, 500
    told = found(pictures(POISON), clean=[innocent], poison=[guilty])
    assert told.mark is not None
    assert told.posterior[innocent] == 0
    assert told.posterior[guilty] == 1
    others = np.delete(np.arange(N_SUSPECTS), [innocent, guilty])
    # Both verdicts contradict both views; a few of the 119 others become doubtful by it.
    assert (told.flagged[others] != POISON[others]).sum() <= 4
    assert (told.posterior[others] > 0.4)[POISON[others]].all()


def test_the_order_of_the_images_stays_where_both_views_are_sure() -> None:
    """A threshold that is moved below all poison still tells images apart."""
    clean = found(pictures(POISON)).posterior[~POISON]
    assert len(np.unique(clean)) > 0.95 * len(clean)


def test_nobody_is_scored_by_a_discriminant_that_has_seen_it() -> None:
    """With random sides and nothing to learn, the cross-fitted scores do not tell the sides apart."""
    random = np.random.default_rng(3).random(N_SUSPECTS) < 0.5
    scores, _ = rule._Discriminant(pictures(np.zeros(N_SUSPECTS, dtype=bool))).scores(random.astype(np.float64))
    assert abs(scores[random].mean() - scores[~random].mean()) < 0.15


def test_spectra_are_mean_energies_of_the_cosine_transform() -> None:
    """A picture made of one cosine wave of each fineness has that energy there and none elsewhere."""
    side, amplitude = 16, 400.0
    for band in range(N_BANDS):
        coefficients = np.zeros((side, side))
        coefficients[0, 0] = 128 * side
        coefficients[2 * band + 1, 0] = amplitude
        picture = np.clip(np.rint(idctn(coefficients, norm="ortho")), 0, 255).astype(np.uint8)
        grey = spectra(picture[None, :, :, None])[0]
        members = (2 * band + 2) ** 2 - (2 * band) ** 2
        expected = np.log(amplitude**2 / members + 1)
        assert grey.shape == (N_BANDS,)
        assert grey[band] == pytest.approx(
            expected if band else np.log((amplitude**2 + (128 * side) ** 2) / 4), abs=0.1
        )
        assert np.delete(grey, [0, band]).max(initial=0) < 0.8  # of rounding to whole grey levels
        colour = spectra(np.repeat(picture[None, :, :, None], 3, axis=3))[0]
        assert colour[:N_BANDS] == pytest.approx(grey, abs=1e-3)
        assert colour[N_BANDS:] == pytest.approx(0, abs=1e-6)
    tilted = np.zeros((1, side, side, 3), dtype=np.uint8)
    tilted[..., 0] = 200  # red alone: as far from green as it is bright
    assert spectra(tilted)[0, N_BANDS] == pytest.approx(np.log((200 * side) ** 2 / 4), abs=0.01)


def test_pictures_are_kept_beside_the_store_and_need_counterparts(
    index: FingerprintIndex, digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = FingerprintIndex.open(Path(shutil.copytree(index.path, tmp_path / "index")), "cpu")
    made = pictures_of(copy, digits, 3, "label")
    assert made is not None
    n_label = int((digits.train[1] == 3).sum())
    assert made.suspects.shape == (n_label, N_BANDS)
    monkeypatch.setattr(rule, "spectra", None)  # nobody is asked again
    again = pictures_of(copy, digits, 3, "label")
    assert again is not None
    assert np.array_equal(again.suspects, made.suspects)
    monkeypatch.setattr(rule, "MIN_COUNTERPARTS", 10_000)
    assert pictures_of(copy, digits, 3, "label") is None
    monkeypatch.setattr(rule, "MIN_COUNTERPARTS", 10)
    monkeypatch.setattr(rule, "MAX_PIXELS", n_label * 64 - 1)
    assert pictures_of(copy, digits, 3, "label") is None


def test_the_finding_tells_the_mark_of_a_planted_patch(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard]
) -> None:
    """In the summary, in the scores, and in the report; the scores are those of the suspects alone."""
    folder = drilled.path / "investigation"
    mark = json.loads((folder / "summary.json").read_text())["mark"]
    table = pq.read_table(folder / "scores.parquet")
    score, suspect = table["mark_score"].to_numpy(), table["suspect"].to_numpy()
    assert mark is not None
    assert mark["p_value"] <= 0.01
    assert (score[~suspect] == 0).all()
    poison = np.zeros(len(score), dtype=bool)
    poison[drilled.planted.indices] = True
    assert score[poison].mean() > score[suspect & ~poison].mean() + 2
