"""Repairs without the poison undo it, keep what the model knew, and the verification says what changed."""

import json

import numpy as np
import pytest
import torch

from orfila_engine.architectures import load_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected
from orfila_engine.training import Recipe
from orfila_engine.unlearning import METHODS, TRAINING, recipe_of, unlearn, verify
from orfila_engine.unlearning.distillation import RATES
from orfila_engine.unlearning.methods import Method

# Poison success rate that each method must reach from 1.00, and test accuracy that it may lose. A patch of 9 of 64
# pixels confuses a clean model now and then as well. SSD is harmless here and forgets little: its published form has no
# setting that does both (see test_unlearning_gradients.py for what it computes).
HEALS: dict[Method, tuple[float, float]] = {
    "eu": (0.1, 0.03),
    "cf": (0.1, 0.03),
    "scrub": (0.2, 0.03),
    "badt": (0.6, 0.03),
    "influence": (0.1, 0.03),
    "selective": (0.1, 0.03),
    "iau": (0.6, 0.03),
    "ssd": (1.0, 0.03),
}


@pytest.mark.parametrize("method", list(METHODS))
def test_a_repair_without_the_poison_heals(drilled: DrillResult, method: Method) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    metadata, _ = read_header(drilled.path / "model.safetensors")
    recipe = recipe_of(metadata)
    assert recipe is not None
    assert not recipe.augment
    removed = drilled.investigation.flagged.tolist()
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    repaired = unlearn(method, model, card, drilled.packed, removed, recipe=recipe, index=index, device="cpu")
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert any(not torch.equal(before[k], v) for k, v in repaired.model.state_dict().items())
    assert not repaired.model.training
    assert (repaired.n_removed, repaired.n_kept) == (len(removed), drilled.packed.n_train - len(removed))
    assert (repaired.epochs is None) == (method not in TRAINING)
    images, labels = triggered_test(drilled.packed, drilled.planted)
    affected = [Affected(images[0], "a.png", int(labels[0]))]
    proof = verify(model, repaired.model, card, drilled.packed, affected, triggered=images, device="cpu")
    psr, lost = HEALS[method]
    assert proof.psr_before is not None
    assert proof.psr_after is not None
    assert proof.psr_before > 0.9
    assert proof.psr_after <= psr
    assert proof.after.accuracy > proof.before.accuracy - lost
    assert proof.n_triggered == len(images)
    different = proof.before.predicted != proof.after.predicted
    assert np.array_equal(proof.changed - drilled.packed.n_train, np.flatnonzero(different))


def test_the_proof_tells_of_each_affected_image(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    recipe = Recipe(epochs=12, augment=False)
    repaired = unlearn("cf", model, card, drilled.packed, drilled.investigation.flagged, recipe=recipe, device="cpu")
    images, labels = triggered_test(drilled.packed, drilled.planted)
    affected = [Affected(images[0], "a.png", int(labels[0]))]
    proof = verify(
        model, repaired.model, card, drilled.packed, affected, triggered=images, predicted_margins=[-2.5], device="cpu"
    )
    outcome = proof.affected[0]
    assert outcome.healed
    assert outcome.before_predicted == drilled.planted.target
    assert outcome.after_predicted == labels[0]
    assert outcome.before_margin > 0 > outcome.after_margin
    assert outcome.predicted_margin == -2.5
    assert "1 of 1 affected image is healed" in proof.sentence()


def test_a_model_against_itself_is_not_healed(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    images, labels = triggered_test(drilled.packed, drilled.planted)
    proof = verify(model, model, card, drilled.packed, [Affected(images[0], "a.png", int(labels[0]))], device="cpu")
    assert not proof.healed
    assert len(proof.changed) == 0
    assert proof.psr_before is None
    assert proof.affected[0].predicted_margin is None


def test_fine_tuning_takes_a_third_of_the_epochs_unless_told(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    recipe = Recipe(epochs=15, learning_rate=0.08)
    derived = unlearn("cf", model, card, drilled.packed, [0], recipe=recipe, device="cpu")
    assert (derived.epochs, derived.learning_rate) == (5, 0.08)
    told = unlearn("cf", model, card, drilled.packed, [0], recipe=recipe, epochs=1, learning_rate=0.01, device="cpu")
    assert (told.epochs, told.learning_rate) == (1, 0.01)
    assert told.summary()["recipe"] == derived.summary()["recipe"], "a later repair starts from the first training"
    assert recipe_of({"training": json.dumps(told.summary())}) == recipe


@pytest.mark.parametrize("method", ["scrub", "badt"])
def test_distillation_chooses_its_rate_unless_told(drilled: DrillResult, method: Method) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    recipe = Recipe(epochs=4, learning_rate=0.1, augment=False)
    options = {"recipe": recipe, "epochs": 1, "device": "cpu"}
    chosen = unlearn(method, model, card, drilled.packed, range(5), **options)  # type: ignore[arg-type]
    assert chosen.learning_rate in [pytest.approx(0.1 * share) for share in RATES]
    wild = options | {"recipe": Recipe(epochs=4, learning_rate=30.0, augment=False)}
    tamed = unlearn(method, model, card, drilled.packed, range(5), **wild)  # type: ignore[arg-type]
    assert tamed.learning_rate is not None
    assert tamed.learning_rate < 30, "a rate that destroys what the model knows is not taken"
    told = unlearn(method, model, card, drilled.packed, range(5), learning_rate=0.03, **options)  # type: ignore[arg-type]
    assert (told.learning_rate, told.epochs) == (0.03, 1)


@pytest.mark.parametrize("method", list(METHODS))
def test_whatever_progress_raises_passes_through(drilled: DrillResult, method: Method) -> None:
    class CancelledError(Exception):
        pass

    seen: list[float] = []

    def stop(_doing: str, share: float) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise CancelledError

    model, card = load_model(drilled.path / "model.safetensors")
    options = {"recipe": Recipe(epochs=2), "device": "cpu", "progress": stop}
    with pytest.raises(CancelledError):
        unlearn(method, model, card, drilled.packed, range(5), **options)  # type: ignore[arg-type]
    assert len(seen) == 3


@pytest.mark.parametrize("method", list(METHODS))
def test_progress_grows_to_one(drilled: DrillResult, method: Method) -> None:
    shares: list[float] = []
    model, card = load_model(drilled.path / "model.safetensors")
    unlearn(
        method, model, card, drilled.packed, range(12), recipe=Recipe(epochs=2), device="cpu",
        progress=lambda _doing, share: shares.append(share),
    )  # fmt: skip
    assert shares[-1] == 1.0
    assert all(0 <= s <= 1 for s in shares)
    assert shares == sorted(shares)


def test_an_interrupted_repair_goes_on_from_its_checkpoint(drilled: DrillResult, tmp_path: object) -> None:
    class CancelledError(Exception):
        pass

    def stop(doing: str, _share: float) -> None:
        if doing == "epoch 3 of 4":
            raise CancelledError

    model, card = load_model(drilled.path / "model.safetensors")
    removed = drilled.investigation.flagged.tolist()
    options = {"recipe": Recipe(epochs=4, augment=False), "learning_rate": 0.02, "device": "cpu"}
    whole = unlearn("scrub", model, card, drilled.packed, removed, **options)  # type: ignore[arg-type]
    options["checkpoint_dir"] = tmp_path
    with pytest.raises(CancelledError):
        unlearn("scrub", model, card, drilled.packed, removed, progress=stop, **options)  # type: ignore[arg-type]
    epochs: set[str] = set()
    resumed = unlearn(
        "scrub", model, card, drilled.packed, removed, progress=lambda doing, _share: epochs.add(doing), **options
    )  # type: ignore[arg-type]
    assert "epoch 2 of 4" not in epochs
    assert "epoch 3 of 4" in epochs
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    with pytest.raises(ValueError, match="another training"):
        unlearn("cf", model, card, drilled.packed, removed, **options)  # type: ignore[arg-type]


def test_impossible_repairs_are_sentences(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    packed = drilled.packed
    with pytest.raises(ValueError, match="empty"):
        unlearn("cf", model, card, packed, [])
    with pytest.raises(ValueError, match="eu, cf, ssd"):
        unlearn("magic", model, card, packed, [0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds 0 to 1400"):
        unlearn("ssd", model, card, packed, [0, packed.n_train])
    with pytest.raises(ValueError, match="'digit 3' would be left"):
        unlearn("influence", model, card, packed, np.flatnonzero(packed.train[1] == 3).tolist())
    with pytest.raises(ValueError, match="trains nothing"):
        unlearn("iau", model, card, packed, [0], epochs=2)
    other, _ = load_model(drilled.path / "model.safetensors")
    torch.nn.init.zeros_(next(other.parameters()))
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    with pytest.raises(ValueError, match="another model"):
        unlearn("influence", other, card, packed, [0], index=index, device="cpu")


def test_a_model_file_without_a_recipe_gives_none() -> None:
    assert recipe_of({}) is None
    assert recipe_of({"training": "not JSON"}) is None
    assert recipe_of({"training": json.dumps({"recipe": {"epochs": 3}})}) is None
