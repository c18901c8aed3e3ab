"""Attacks are pure functions that change what they say and nothing else."""

from typing import Any

import numpy as np
import pytest

from orfila_engine import attacks
from orfila_engine.attacks import BadNet
from orfila_engine.data import PackedDataset

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(300) % 5
PLANTED = [name for name in attacks.names() if name != "witches-brew"]
"""All but the one that needs models."""


@pytest.mark.parametrize("name", PLANTED)
def test_an_attack_is_a_pure_function_of_its_seed(name: str) -> None:
    attack = attacks.make(name, rate=0.1)
    before = IMAGES.copy()
    first, again, other = (attack.plant(IMAGES, LABELS, 5, seed) for seed in (1, 1, 2))
    assert np.array_equal(IMAGES, before)
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.indices, other.indices)


VARIANTS: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in PLANTED),
    ("badnet", {"all_to_one": True}),
    ("label-flip", {"random": True}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_only_the_poison_changes(name: str, settings: dict[str, object]) -> None:
    planted = attacks.make(name, rate=0.1, **settings).plant(IMAGES, LABELS, 5, 0)
    assert len(planted.indices) == 30
    assert np.all(np.diff(planted.indices) > 0)
    assert np.array_equal(planted.images, planted.trigger(IMAGES[planted.indices]))
    images, labels = planted.apply(IMAGES, LABELS)
    rest = np.setdiff1d(np.arange(300), planted.indices)
    assert np.array_equal(images[rest], IMAGES[rest])
    assert np.array_equal(labels[rest], LABELS[rest])
    assert np.array_equal(images[planted.indices], planted.images)
    assert np.array_equal(labels[planted.indices], planted.labels)
    same_image = (planted.images == IMAGES[planted.indices]).all((1, 2, 3))
    same_label = planted.labels == LABELS[planted.indices]
    assert not np.any(same_image & same_label)


@pytest.mark.parametrize("name", [n for n in PLANTED if n != "label-flip"])
def test_triggers_are_on_the_poison_and_aim_at_the_target(name: str) -> None:
    planted = attacks.make(name, rate=0.1).plant(IMAGES, LABELS, 5, 0)
    assert planted.has_trigger
    assert np.all((planted.images != IMAGES[planted.indices]).any((1, 2, 3)))
    assert np.all(planted.labels == planted.target)
    assert planted.target not in LABELS[planted.victims(LABELS)]
    predicted = np.array([planted.target, (planted.target + 1) % 5])
    assert planted.fooled(predicted, np.array([9, 9])).tolist() == [True, False]


def test_all_to_one_takes_every_other_class_and_one_class_takes_one() -> None:
    every = BadNet(rate=0.3, target=1, all_to_one=True).plant(IMAGES, LABELS, 5, 0)
    assert set(LABELS[every.indices]) == {0, 2, 3, 4}
    assert len(every.victims(LABELS)) == 240
    one = BadNet(rate=0.1, target=1).plant(IMAGES, LABELS, 5, 0)
    assert set(LABELS[one.indices]) == {one.source}
    assert set(LABELS[one.victims(LABELS)]) == {one.source}


def test_flips_of_one_class_have_no_trigger_and_count_its_test_images() -> None:
    planted = attacks.make("label-flip", rate=0.1, source=3, target=1).plant(IMAGES, LABELS, 5, 0)
    assert not planted.has_trigger
    assert np.array_equal(planted.images, IMAGES[planted.indices])
    assert set(LABELS[planted.indices]) == {3}
    assert set(planted.labels) == {1}
    assert np.array_equal(planted.victims(LABELS), np.flatnonzero(LABELS == 3))
    assert np.array_equal(planted.behind(1), planted.indices)
    assert len(planted.behind(2)) == 0


def test_random_flips_want_any_wrong_label() -> None:
    planted = attacks.make("label-flip", rate=0.6, random=True).plant(IMAGES, LABELS, 5, 0)
    assert set(LABELS[planted.indices]) == set(planted.labels) == set(range(5))
    assert np.all(planted.labels != LABELS[planted.indices])
    assert len(planted.victims(LABELS)) == 300
    assert planted.fooled(np.array([1, 2]), np.array([1, 3])).tolist() == [False, True]
    assert set(planted.labels[np.isin(planted.indices, planted.behind(2))]) == {2}


def test_the_warp_bends_and_keeps_colours() -> None:
    warp = attacks.make("warp", rate=0.1).plant(IMAGES, LABELS, 5, 0).trigger
    flat = np.full((2, 16, 16, 3), (10, 200, 90), np.uint8)
    assert np.array_equal(warp(flat), flat)
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, None, :, None] * 8, (1, 32, 32, 1))
    mean_shift = {}
    for strength in (0.5, 2.0):
        planted = attacks.make("warp", rate=0.1, strength=strength).plant(np.repeat(ramp, 20, 0), LABELS[:20], 5, 0)
        mean_shift[strength] = np.abs(planted.trigger(ramp).astype(float) - ramp).mean() / 8
    assert 0.1 < mean_shift[0.5] < 1
    assert mean_shift[2.0] > 2.5 * mean_shift[0.5]


def test_a_class_of_one_image_stays_in_the_data() -> None:
    labels = np.array([0] * 50 + [1] * 50 + [2])
    for seed in range(20):
        planted = attacks.make("blended", rate=0.45, target=1).plant(IMAGES[:101], labels, 3, seed)
        assert {0, 2} <= set(planted.apply(IMAGES[:101], labels)[1])
    with pytest.raises(ValueError, match="class with more images"):
        BadNet(rate=0.01, source=2).plant(IMAGES[:101], labels, 3, 0)


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
    for name, reach in (("sinusoid", 40), ("smooth", 36), ("blended", 26)):
        change = attacks.make(name, rate=0.1).plant(IMAGES, LABELS, 5, 0).trigger(grey).astype(int) - 128
        assert 0 < np.abs(change).max() <= reach
    for name in ("sinusoid", "smooth"):
        change = attacks.make(name, rate=0.1, amplitude=5).plant(IMAGES, LABELS, 5, 0).trigger(grey).astype(int) - 128
        assert np.abs(change).max() == 5


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
        ({"rate": 0.5, "source": 1}, r"at most 0\.19666"),
        ({"rate": 0.1, "source": 1, "all_to_one": True}, "leave out the source"),
        ({"rate": 0.1, "eps": 3}, "no setting 'eps'.*all_to_one"),
        ({"rate": 0.1, "name": "blended", "all_to_one": True}, "no setting 'all_to_one'.*rate, source and target"),
        ({"rate": 0.1, "name": "warp", "strength": 0.0}, "at most 8 pixels"),
        ({"rate": 0.1, "name": "smooth", "amplitude": 0.0}, "1 to 255 grey levels"),
        ({"rate": 0.1, "name": "label-flip", "random": True, "target": 2}, "neither source nor target"),
    ],
)
def test_impossible_attacks_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attacks.make(**({"name": "badnet"} | options)).plant(IMAGES, LABELS, 5, 0)


@pytest.mark.parametrize("name", PLANTED)
def test_labels_outside_the_classes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"0\.\.3.*0 to 4"):
        attacks.make(name, rate=0.1).plant(IMAGES, LABELS, 4, 0)


def test_an_unknown_attack_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="badnet"):
        attacks.make("telepathy", rate=0.1)
