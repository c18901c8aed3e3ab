"""Witches' Brew: faint noise, right labels, and a gradient that points at the wanted mistake."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orfila_engine import attacks
from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.attacks import WitchesBrew
from orfila_engine.attacks.witches_brew import Brew
from orfila_engine.data import PackedDataset
from orfila_engine.planting import plant_and_train

CARD = ModelCard("resnet-nano", ("a", "b", "c"), (8, 8), 1, (0.3,), (0.35,))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (90, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(90) % 3
VICTIM = IMAGES[1]


def surrogates(count: int = 1) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3)) for _ in range(count)]


def craft(models: list[nn.Module] | None = None, seed: int = 0, augmented: bool = False, **settings: Any) -> Brew:
    attack = WitchesBrew(**({"rate": 0.2, "target": 0, "steps": 40, "ensemble": 1} | settings))
    return attack.craft(
        models or surrogates(attack.ensemble), CARD, IMAGES, LABELS, VICTIM,
        victim_row=4, source=1, target=0, seed=seed, augmented=augmented, device="cpu",
    )  # fmt: skip


def mismatch(model: nn.Module, images: np.ndarray, label: int = 0) -> float:
    """1 - cosine of the poison's gradient with the wanted one, by plain autograd."""

    def gradient(pictures: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        loss = F.cross_entropy(model(normalise(x, CARD)), torch.full((len(x),), label))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    return 1 - float(torch.cosine_similarity(gradient(images), gradient(VICTIM[None]), dim=0))


@pytest.mark.parametrize("eps", [16.0, 4.7, 1.0])
def test_the_noise_is_bounded_and_every_label_is_right(eps: float) -> None:
    planted = craft(eps=eps).planted
    assert len(planted.indices) == 18
    assert np.array_equal(planted.labels, LABELS[planted.indices])
    assert set(planted.labels) == {0}
    change = planted.images.astype(int) - IMAGES[planted.indices]
    assert 0 < np.abs(change).max() <= eps
    assert not planted.has_trigger
    assert planted.victims(LABELS).tolist() == [4]


def test_the_stated_loss_is_that_of_the_pictures_as_they_are_stored() -> None:
    model = surrogates()[0]
    made = craft([model])
    assert made.loss == pytest.approx(mismatch(model, made.planted.images), abs=1e-5)
    clean = mismatch(model, IMAGES[made.planted.indices])
    assert made.loss < 0.7 * clean


def test_more_steps_and_restarts_match_better() -> None:
    losses = {steps: craft(steps=steps).loss for steps in (1, 8, 80)}
    assert losses[80] < losses[8] < losses[1]
    assert craft(steps=8, restarts=3).loss <= losses[8]


def test_an_ensemble_is_matched_together() -> None:
    models = surrogates(2)
    made = craft(models, ensemble=2)
    both = [mismatch(m, made.planted.images) for m in models]
    assert made.loss == pytest.approx(np.mean(both), abs=1e-5)
    alone = craft(models[:1])
    assert mismatch(models[1], alone.planted.images) > both[1]


def test_the_same_seed_brews_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = (craft(seed=seed, steps=5).planted for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.indices, other.indices)
    # Batches are matched one by one, each to the end.
    monkeypatch.setattr("orfila_engine.attacks.witches_brew._BATCH_VALUES", 5 * 64)
    made = craft()
    assert made.loss < 0.7
    assert len(made.planted.images) == 18


def test_augmented_brewing_differs_and_still_matches() -> None:
    plain, shifted = craft(), craft(augmented=True)
    assert not np.array_equal(plain.planted.images, shifted.planted.images)
    assert shifted.loss < mismatch(surrogates()[0], IMAGES[shifted.planted.indices])


def test_the_victim_is_a_test_image_that_a_clean_model_gets_right() -> None:
    predicted = LABELS.copy()
    predicted[:60] = 2
    for seed in range(10):
        attack = WitchesBrew(rate=0.1, source=1)
        row, target = attack.choose_victim(LABELS, predicted, 3, seed)
        assert row >= 60
        assert LABELS[row] == 1 != target
    assert WitchesBrew(rate=0.1, victim=61, target=0).choose_victim(LABELS, predicted, 3, 0) == (61, 0)
    for seed in range(6):
        assert WitchesBrew(rate=0.1, victim=61).choose_victim(LABELS, predicted, 3, seed)[1] != LABELS[61]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"eps": 0.5}, "grey levels"),
        ({"eps": 300.0}, "grey levels"),
        ({"steps": 0}, "steps is 0"),
        ({"restarts": 0}, "restarts is 0"),
        ({"ensemble": 0}, "ensemble is 0"),
        ({"victim": 90}, r"0\.\.89"),
        ({"victim": 1, "source": 2}, "not of the source class"),
        ({"victim": 1, "target": 1}, "target label already"),
        ({"victim": 0}, "wrong already"),
        ({"source": 0}, "no test image of class 0 right"),
    ],
)
def test_impossible_brews_are_refused(settings: dict[str, Any], sentence: str) -> None:
    predicted = np.where(LABELS == 0, 1, LABELS)
    with pytest.raises(ValueError, match=sentence):
        attacks.make("witches-brew", rate=0.1, **settings).choose_victim(LABELS, predicted, 3, 0)  # type: ignore[union-attr]


def test_too_few_pictures_or_surrogates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 0\.3222"):
        craft(rate=0.5)
    with pytest.raises(ValueError, match="as many surrogates"):
        craft(surrogates(1), ensemble=2)
    dead = surrogates()[0]
    for parameter in dead.parameters():
        nn.init.constant_(parameter, float("nan"))
    with pytest.raises(ValueError, match="train another surrogate"):
        craft([dead])


def test_a_drill_brews_once_and_shares_its_surrogates(few_digits: PackedDataset, tmp_path: Path) -> None:
    attack = WitchesBrew(rate=0.1, target=0, steps=3, ensemble=1)
    options: dict[str, Any] = {"architecture": "resnet-nano", "epochs": 8, "device": "cpu"}
    made = plant_and_train(few_digits, attack, out_dir=tmp_path / "a", surrogates=tmp_path / "models", **options)
    assert made.about["n_victims"] == 1
    assert made.about["settings"]["augment"], "this attack takes hold of a training that does not learn by heart"
    assert made.about["took_hold"] == (made.outcome.predicted[0] == 0)
    row = made.planted.victim_row
    assert row is not None
    assert np.array_equal(made.victims[0], few_digits.test[0][row])
    (model,) = (tmp_path / "models").iterdir()
    kept = model.stat().st_mtime_ns

    doings: list[str] = []
    again = plant_and_train(
        few_digits, attack, out_dir=tmp_path / "a", surrogates=tmp_path / "models",
        progress=lambda doing, _share: doings.append(doing), **options,
    )  # fmt: skip
    assert doings == ["planted"]
    assert np.array_equal(again.planted.images, made.planted.images)
    assert again.planted.victim_row == row
    plant_and_train(few_digits, attack, out_dir=tmp_path / "b", surrogates=tmp_path / "models", seed=1, **options)
    assert [m.stat().st_mtime_ns for m in (tmp_path / "models").iterdir()] == [kept]
