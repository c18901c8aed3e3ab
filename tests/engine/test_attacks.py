"""Attacks are pure functions that change what they say and nothing else."""

import numpy as np
import pytest

from orfila_engine import attacks
from orfila_engine.attacks import BadNet
from orfila_engine.data import PackedDataset

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(300) % 5


@pytest.mark.parametrize("name", attacks.names())
def test_an_attack_is_a_pure_function_of_its_seed(name: str) -> None:
    attack = attacks.make(name, rate=0.1)
    before = IMAGES.copy()
    first, again, other = (attack.plant(IMAGES, LABELS, 5, seed) for seed in (1, 1, 2))
    assert np.array_equal(IMAGES, before)
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.indices, other.indices)


@pytest.mark.parametrize("name", attacks.names())
def test_the_poison_is_the_triggered_victims_with_the_target_label(name: str) -> None:
    planted = attacks.make(name, rate=0.1).plant(IMAGES, LABELS, 5, 0)
    assert len(planted.indices) == 30
    assert np.all(np.diff(planted.indices) > 0)
    assert np.array_equal(planted.images, planted.trigger(IMAGES[planted.indices]))
    assert np.all((planted.images != IMAGES[planted.indices]).any((1, 2, 3)))
    assert np.all(planted.labels == planted.target)
    images, labels = planted.apply(IMAGES, LABELS)
    rest = np.setdiff1d(np.arange(300), planted.indices)
    assert np.array_equal(images[rest], IMAGES[rest])
    assert np.array_equal(labels[rest], LABELS[rest])
    assert np.array_equal(labels[planted.indices], planted.labels)
    assert planted.target not in LABELS[planted.victims(LABELS)]


def test_badnet_is_a_patch_of_nine_pixels_on_one_class() -> None:
    planted = BadNet(rate=0.1, source=3, target=1).plant(IMAGES, LABELS, 5, 0)
    assert set(LABELS[planted.indices]) == {3}
    changed = (planted.trigger(np.full((1, 16, 16, 3), 100, np.uint8)) != 100).any(-1)[0]
    assert changed.sum() == 9
    assert changed[12:15, 12:15].all()
    assert np.array_equal(planted.victims(LABELS), np.flatnonzero(LABELS == 3))


def test_the_sinusoid_leaves_every_label_right() -> None:
    planted = attacks.make("sinusoid", rate=0.1, target=2).plant(IMAGES, LABELS, 5, 0)
    assert np.array_equal(planted.labels, LABELS[planted.indices])
    assert len(planted.victims(LABELS)) == 240


def test_faint_triggers_are_faint() -> None:
    grey = np.full((1, 16, 16, 3), 128, np.uint8)
    for name, reach in (("sinusoid", 20), ("smooth", 24), ("blended", 26)):
        change = attacks.make(name, rate=0.1).plant(IMAGES, LABELS, 5, 0).trigger(grey).astype(int) - 128
        assert 0 < np.abs(change).max() <= reach


def test_grey_images_can_be_poisoned(digits: PackedDataset) -> None:
    images, labels = digits.train
    planted = BadNet(rate=0.02).plant(images, labels, 10, 0)
    assert planted.images.shape[1:] == (8, 8, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate": 0.0}, "between 0 and 1"),
        ({"rate": 0.1, "source": 1, "target": 1}, "same class"),
        ({"rate": 0.1, "target": 9}, r"0\.\.4"),
        ({"rate": 0.5, "source": 1}, "at most 0.2"),
    ],
)
def test_impossible_attacks_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attacks.make("badnet", **options).plant(IMAGES, LABELS, 5, 0)  # type: ignore[arg-type]


def test_an_unknown_attack_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="badnet"):
        attacks.make("telepathy", rate=0.1)
