"""The first half of a drill alone: what it writes, how it goes on from what is there, what its numbers mean."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from orfila_engine.architectures import load_model
from orfila_engine.attacks import BadNet, LabelFlip
from orfila_engine.data import PackedDataset
from orfila_engine.drill import detection, investigate_planted
from orfila_engine.evaluation import evaluate
from orfila_engine.planting import PoisonedModel, plant_and_train

ATTACK = BadNet(rate=0.03, source=5, target=0)
OPTIONS: dict[str, Any] = {"architecture": "resnet-nano", "epochs": 6, "device": "cpu"}


@pytest.fixture(scope="module")
def planted(digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> PoisonedModel:
    return plant_and_train(digits, ATTACK, out_dir=tmp_path_factory.mktemp("planted"), n_affected=3, **OPTIONS)


def weights(path: Path) -> dict[str, bytes]:
    """The tensors; the metadata of two equal files may stand in another order."""
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path / "model.safetensors").items()}


def test_it_writes_what_it_says_and_the_numbers_agree(planted: PoisonedModel, digits: PackedDataset) -> None:
    path, about = planted.path, planted.about
    assert json.loads((path / "planting.json").read_text()) == about
    rows = list(csv.DictReader((path / "truth.csv").open()))
    assert [int(r["index"]) for r in rows] == planted.planted.indices.tolist()
    assert {r["label"] for r in rows} == {"digit 0"}
    assert [r["path"] for r in rows] == [planted.packed.names[i] for i in planted.planted.indices]
    poisoned = PackedDataset.open(path / "data")
    assert poisoned.digest == planted.packed.digest != digits.digest
    assert np.array_equal(poisoned.test[0], digits.test[0])

    model, card = load_model(path / "model.safetensors")
    with np.load(path / "triggered.npz") as stored:
        images, labels = stored["images"], stored["labels"]
    assert set(labels) == {5}
    predicted = evaluate(model, card, images, labels, device="cpu").predicted
    assert about["n_victims"] == len(images)
    assert about["n_fooled"] == int((predicted == 0).sum())
    assert about["poison_success_rate"] == about["n_fooled"] / about["n_victims"]
    assert about["took_hold"] == (about["poison_success_rate"] >= 0.5)
    assert about["accuracy"] == evaluate(model, card, *digits.test, device="cpu").accuracy
    assert not list(path.glob("checkpoint-*"))


def test_the_affected_images_are_the_surest_victims(planted: PoisonedModel) -> None:
    affected = planted.affected(3)
    assert [a.name for a in affected] == ["affected-0.png", "affected-1.png", "affected-2.png"]
    confidence = []
    for image in affected:
        with Image.open(planted.path / image.name) as stored:
            assert np.array_equal(np.asarray(stored)[..., None], image.pixels)
        (row,) = np.flatnonzero((planted.victims == image.pixels).all((1, 2, 3)))
        assert planted.outcome.predicted[row] == 0
        confidence.append(planted.outcome.confidence[row])
        assert image.test_index is None
        assert image.true_label == 5
    fooled = planted.outcome.confidence[planted.outcome.predicted == 0]
    assert confidence == sorted(fooled.tolist(), reverse=True)[:3]


def test_the_same_settings_train_once(planted: PoisonedModel, digits: PackedDataset) -> None:
    def train_again(_doing: str, share: float) -> None:
        assert share == 1.0, "it trains again"

    before = (planted.path / "model.safetensors").stat().st_mtime_ns
    again = plant_and_train(digits, ATTACK, out_dir=planted.path, progress=train_again, **OPTIONS)
    assert (planted.path / "model.safetensors").stat().st_mtime_ns == before
    assert again.about == planted.about
    assert np.array_equal(again.planted.indices, planted.planted.indices)
    assert np.array_equal(again.victims, planted.victims)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 2}, {"augment": True}, {"attack": BadNet(rate=0.02, source=5, target=0)}]
)
def test_other_settings_train_again(few_digits: PackedDataset, change: dict[str, Any], tmp_path: Path) -> None:
    attack = BadNet(rate=0.05, source=1, target=0)
    if "attack" in change:
        change = {"attack": BadNet(rate=0.06, source=1, target=0)}
    options = {"attack": attack} | OPTIONS | {"epochs": 1}
    first = weights(plant_and_train(few_digits, out_dir=tmp_path, **options).path)
    assert weights(plant_and_train(few_digits, out_dir=tmp_path, **(options | change)).path) != first
    assert weights(plant_and_train(few_digits, out_dir=tmp_path, **options).path) == first


def test_a_stopped_training_goes_on(few_digits: PackedDataset, tmp_path: Path) -> None:
    attack = BadNet(rate=0.05, source=1, target=0)
    options = OPTIONS | {"epochs": 4}
    whole = plant_and_train(few_digits, attack, out_dir=tmp_path / "whole", **options)

    class Stopped(Exception):
        pass

    def stop(doing: str, _share: float) -> None:
        if doing == "epoch 3 of 4":
            raise Stopped

    with pytest.raises(Stopped):
        plant_and_train(few_digits, attack, out_dir=tmp_path / "parts", progress=stop, **options)
    assert not (tmp_path / "parts" / "planting.json").exists()
    doings: list[str] = []
    parts = plant_and_train(
        few_digits, attack, out_dir=tmp_path / "parts", progress=lambda doing, _share: doings.append(doing), **options
    )
    assert "epoch 2 of 4" not in doings
    assert "epoch 3 of 4" in doings
    assert weights(parts.path) == weights(whole.path)


def test_a_poison_that_fools_nobody_is_told_when_it_is_investigated(few_digits: PackedDataset, tmp_path: Path) -> None:
    options = OPTIONS | {"epochs": 1}
    made = plant_and_train(few_digits, BadNet(rate=0.005, source=1, target=0), out_dir=tmp_path, **options)
    if made.about["n_fooled"]:
        pytest.skip("this machine's rounding lets one poison win")
    assert made.about["poison_success_rate"] == 0
    assert made.about["took_hold"] is False
    assert not (tmp_path / "affected-0.png").exists()
    with pytest.raises(ValueError, match="fools the model on no test image"):
        investigate_planted(made, device="cpu")


def test_label_flips_aim_at_test_images_as_they_are(digits: PackedDataset, tmp_path: Path) -> None:
    attack = LabelFlip(rate=0.08, source=4, target=9)
    made = plant_and_train(digits, attack, out_dir=tmp_path, **OPTIONS)
    assert made.about["has_trigger"] is False
    assert made.about["took_hold"] is True
    rows = np.flatnonzero(digits.test[1] == 4)
    assert np.array_equal(made.victims, digits.test[0][rows])
    (affected,) = made.affected()
    assert affected.test_index is not None
    assert np.array_equal(digits.pixels[affected.test_index], affected.pixels)
    report = investigate_planted(made, device="cpu").report
    assert report["collapse_rule"]["n_poison"] == len(made.planted.indices)
    assert json.loads((tmp_path / "drill.json").read_text()) == report
    assert (report["source"], report["target"], report["epochs"]) == ("digit 4", "digit 9", 6)


def test_random_flips_are_scored_by_the_label_that_the_image_receives(digits: PackedDataset, tmp_path: Path) -> None:
    made = plant_and_train(digits, LabelFlip(rate=0.2, random=True), out_dir=tmp_path, **OPTIONS)
    assert made.about["n_victims"] == len(digits.test[1])
    assert made.about["poison_success_rate"] == pytest.approx(1 - made.about["accuracy"])
    affected = made.affected(4)
    report = investigate_planted(made, n_affected=4, device="cpu").report
    summary = json.loads((tmp_path / "investigation" / "summary.json").read_text())
    assert len(summary["affected"]) == len(affected)
    behind = made.planted.behind(summary["predicted"])
    assert 0 < len(behind) < len(made.planted.indices)
    assert report["collapse_rule"]["n_poison"] == len(behind)
    assert report["target"] is None


def test_detection_has_no_share_of_nothing() -> None:
    found = detection(np.array([1, 2, 3]), np.array([2, 3, 4, 5]))
    assert (found.precision, found.recall) == (0.5, pytest.approx(2 / 3))
    nothing = np.array([], dtype=np.int64)
    assert detection(np.array([1]), nothing).precision is None
    assert detection(nothing, np.array([1])).recall is None
