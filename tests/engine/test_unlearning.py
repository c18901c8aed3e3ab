"""Repairs without the poison undo it, and the verification says what changed."""

import json

import numpy as np
import pytest
import torch

from orfila_engine.architectures import load_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.investigation import Affected
from orfila_engine.training import Recipe
from orfila_engine.unlearning import recipe_of, unlearn, verify


@pytest.mark.parametrize("method", ["eu", "cf"])
def test_a_repair_without_the_poison_heals(drilled: DrillResult, method: str) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    metadata, _ = read_header(drilled.path / "model.safetensors")
    recipe = recipe_of(metadata)
    assert recipe is not None
    assert not recipe.augment
    removed = drilled.investigation.flagged.tolist()
    repaired = unlearn(method, model, card, drilled.packed, removed, recipe=recipe, device="cpu")  # type: ignore[arg-type]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert repaired.trained.n_images == drilled.packed.n_train - len(removed)
    images, labels = triggered_test(drilled.packed, drilled.planted)
    affected = [Affected(images[0], "a.png", int(labels[0]))]
    proof = verify(model, repaired.model, card, drilled.packed, affected, triggered=images, device="cpu")
    assert proof.psr_before is not None
    assert proof.psr_after is not None
    assert proof.psr_before > 0.9
    assert proof.psr_after < 0.2  # a patch of 9 of 64 pixels confuses a clean model now and then as well
    assert proof.n_triggered == len(images)
    outcome = proof.affected[0]
    assert outcome.healed
    assert outcome.before_predicted == drilled.planted.target
    assert outcome.after_predicted == labels[0]
    assert outcome.before_margin > 0 > outcome.after_margin
    assert proof.after.accuracy > proof.before.accuracy - 0.05
    different = proof.before.predicted != proof.after.predicted
    assert np.array_equal(proof.changed - drilled.packed.n_train, np.flatnonzero(different))
    assert "1 of 1 affected image is healed" in proof.sentence()


def test_a_model_against_itself_is_not_healed(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    images, labels = triggered_test(drilled.packed, drilled.planted)
    proof = verify(model, model, card, drilled.packed, [Affected(images[0], "a.png", int(labels[0]))], device="cpu")
    assert not proof.healed
    assert len(proof.changed) == 0
    assert proof.psr_before is None


def test_fine_tuning_takes_a_third_of_the_epochs_unless_told(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    options = {"recipe": Recipe(epochs=15, learning_rate=0.08), "device": "cpu"}
    derived = unlearn("cf", model, card, drilled.packed, [0], **options).trained.recipe  # type: ignore[arg-type]
    assert (derived.epochs, derived.learning_rate) == (5, 0.08)
    told = unlearn("cf", model, card, drilled.packed, [0], epochs=1, learning_rate=0.01, **options)  # type: ignore[arg-type]
    assert (told.trained.recipe.epochs, told.trained.recipe.learning_rate) == (1, 0.01)


def test_impossible_repairs_are_sentences(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    with pytest.raises(ValueError, match="empty"):
        unlearn("cf", model, card, drilled.packed, [])
    with pytest.raises(ValueError, match="eu, cf"):
        unlearn("magic", model, card, drilled.packed, [0])  # type: ignore[arg-type]


def test_a_model_file_without_a_recipe_gives_none() -> None:
    assert recipe_of({}) is None
    assert recipe_of({"training": "not JSON"}) is None
    assert recipe_of({"training": json.dumps({"recipe": {"epochs": 3}})}) is None
