"""The evidence test: who counts as a reference, and what is needed for each answer."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import Collapse, collapse
from orfila_engine.data import PackedDataset
from orfila_engine.drill import DrillResult
from orfila_engine.evaluation import evaluate
from orfila_engine.evidence import Calibration, Reference, calibration_of, judge, units
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import affected_from_test, investigate
from orfila_engine.suspects import FingerprintSuspects, Vector

D = 48
N_CLEAN, N_POISON = 400, 60


def rows_of(n: int, group: int, seed: int) -> Vector:
    """n rows, the first `group` of which form a group along axis 0."""
    rows = np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)
    rows[:group, 0] += 8
    return rows


def reference(n: int, group: int, n_strangers: int = 199) -> Reference:
    """Counterparts, of which `group` are of the poison's kind, and strangers that are all of no kind."""
    return Reference(
        counterparts=units(rows_of(n, group, 1)),
        strangers=units(rows_of(n_strangers, 0, 2)),
        stranger_indices=np.arange(n_strangers),
    )


def found(against: Reference) -> Collapse[Vector]:
    rows = rows_of(N_CLEAN + N_POISON, N_POISON, 0)
    suspects = FingerprintSuspects(rows, np.square(rows).sum(1), np.arange(len(rows)))
    direction = np.zeros(D, dtype=np.float32)
    direction[:2] = 0.8, 0.6
    return collapse(suspects, direction, counterparts=against.cosines)


def affected(along: float) -> NDArray[np.float32]:
    row = np.random.default_rng(3).standard_normal((1, D)).astype(np.float32)
    row[0, 0] = along
    return row


def test_a_group_of_the_training_data_alone_that_the_image_belongs_to_is_poison_at_the_strict_level() -> None:
    against = reference(200, 0)
    result = found(against)
    evidence = judge(result, against, affected(8))
    assert np.flatnonzero(result.posterior > 0.9).tolist() == list(range(N_POISON))
    assert (evidence.verdict, evidence.level) == ("poisoning found", "strict")
    assert evidence.p_image == pytest.approx(1 / 200)
    assert evidence.p_group < 1e-4
    assert evidence.p_value == max(evidence.p_group, evidence.p_image)
    assert evidence.share_suspects == pytest.approx(N_POISON / (N_CLEAN + N_POISON))
    assert evidence.share_counterparts == 0


def test_a_group_that_the_test_images_have_too_is_natural() -> None:
    against = reference(200, 26)
    result = found(against)
    evidence = judge(result, against, affected(8))
    assert evidence.verdict == "no evidence of poisoning"
    assert evidence.level == "none"
    assert evidence.p_value > 0.2


def test_poison_that_the_image_does_not_belong_to_is_no_finding() -> None:
    against = reference(200, 0)
    evidence = judge(found(against), against, affected(0))
    assert evidence.p_group < 1e-4
    assert evidence.verdict == "no evidence of poisoning"


def test_the_p_value_of_an_image_counts_the_strangers_beyond_it() -> None:
    against = reference(200, 0, n_strangers=99)
    result = found(against)
    along = np.sort(against.strangers @ result.direction)
    own = result.direction[None] * float((along[-4] + along[-3]) / 2)
    # `judge` takes the cosine, so the image is given a second axis that makes it a unit vector with that cosine.
    other = np.linalg.svd(result.direction[None])[2][-1]
    image = own + other * np.sqrt(1 - np.square(own).sum())
    assert judge(result, against, image.astype(np.float32)).p_image == pytest.approx((1 + 3) / 100)


def test_few_counterparts_give_weak_evidence_at_most() -> None:
    against = reference(5, 0)
    evidence = judge(found(against), against, affected(8))
    assert evidence.share_counterparts is None
    assert (evidence.verdict, evidence.level) == ("weak evidence", "none")
    assert evidence.p_value == evidence.p_image, "a number that was measured, not one that was chosen"


def test_a_sweep_asks_about_the_group_alone() -> None:
    against = reference(200, 0)
    evidence = judge(found(against), against)
    assert evidence.p_image is None
    assert evidence.p_value == evidence.p_group
    assert evidence.level == "strict"


def test_references_are_test_images_and_are_kept(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard]
) -> None:
    packed = drilled.packed
    label = drilled.planted.target
    assert label is not None
    calibration = calibration_of(index, packed, *model)
    made = calibration.of(label)
    labels = packed.labels[made.stranger_indices]
    assert len(made.counterparts) == int((packed.test[1] == label).sum())
    assert len(made.strangers) == 199
    assert not (labels == label).any()
    assert np.linalg.norm(made.counterparts, axis=1) == pytest.approx(1, abs=1e-2)
    kept = sorted(p.name for p in index.path.glob("evidence-label-*.npz"))
    assert kept == sorted(f"evidence-label-{k}.npz" for k in range(len(packed.classes)))
    assert np.array_equal(Calibration(index, packed, *model).of(label).strangers, made.strangers)
    less = made.without(made.stranger_indices[:3].tolist())
    assert len(less.strangers) == len(less.stranger_indices) == 196
    assert np.array_equal(less.counterparts, made.counterparts)


def test_other_triggered_test_images_are_no_ordinary_reference(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    """Test images that wrongly receive the same label may carry the same trigger, and then lie as far along."""
    packed, planted = drilled.packed, drilled.planted
    victims = planted.victims(packed.test[1])
    marked = np.array(packed.pixels)
    marked[packed.n_train + victims] = planted.trigger(marked[packed.n_train + victims])
    spread = replace(packed, pixels=marked)
    index = FingerprintIndex.open(shutil.copytree(drilled.path / "index", tmp_path / "index"), "cpu")
    for kept in index.path.glob("evidence-*"):
        kept.unlink()
    made = Calibration(index, spread, *model).of(int(planted.target))
    fooled = evaluate(*model, marked[made.stranger_indices], spread.labels[made.stranger_indices], device="cpu")
    assert len(made.strangers) == 199
    assert not (fooled.predicted == planted.target).any()
    outcome = evaluate(*model, marked[packed.n_train + victims], packed.test[1][victims], device="cpu")
    caught = victims[outcome.predicted == planted.target]
    assert len(caught) >= 10
    asked = affected_from_test(spread, packed.n_train + int(caught[0]))
    found = investigate(index, spread, *model, [asked], out_dir=tmp_path / "case")
    assert found.summary["evidence"]["p_image"] <= 0.01


def test_too_few_test_images_are_a_sentence(
    few_digits: PackedDataset, index: FingerprintIndex, model: tuple[nn.Module, ModelCard]
) -> None:
    class Short(PackedDataset):
        @property
        def test(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            pixels, labels = super().test
            return pixels[:20], labels[:20]

    short = Short(**{name: getattr(few_digits, name) for name in few_digits.__dataclass_fields__})
    with pytest.raises(ValueError, match="20 test images"):
        Calibration(index, short, *model, suspects="all").of(2)  # of a label that nobody asked about before
