"""Training: seeded, resumable bit for bit, cancelled by its progress, clear about data that do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.devices import select_device
from orfila_engine.evaluation import Evaluation, evaluate, margins
from orfila_engine.training import CHECKPOINT, Recipe, TrainedModel, card_for, fit, learning_rate, train


class Stop(Exception):
    pass


def stop_in_epoch(number: int):
    def progress(doing: str, share: float) -> None:
        if doing.startswith(f"epoch {number} "):
            raise Stop

    return progress


def state(trained: TrainedModel | nn.Module) -> dict[str, torch.Tensor]:
    model = trained.model if isinstance(trained, TrainedModel) else trained
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: TrainedModel, b: TrainedModel) -> bool:
    x, y = state(a), state(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(few_digits: PackedDataset) -> None:
    first, again, other = (train("resnet-nano", few_digits, epochs=2, seed=s, device="cpu") for s in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_training_learns(drilled, digits: PackedDataset) -> None:
    assert drilled.report["accuracy"] > 0.9


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_training_resumes_bit_for_bit(few_digits: PackedDataset, tmp_path: Path, epoch: int) -> None:
    calm = train("resnet-nano", few_digits, epochs=4, device="cpu")
    with pytest.raises(Stop):
        train(
            "resnet-nano",
            few_digits,
            epochs=4,
            device="cpu",
            checkpoint_dir=tmp_path,
            progress=stop_in_epoch(epoch + 1),
        )
    before = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    resumed = train("resnet-nano", few_digits, epochs=4, device="cpu", checkpoint_dir=tmp_path)
    assert (tmp_path / CHECKPOINT).stat().st_mtime_ns > before
    assert same(calm, resumed)
    assert [(e.number, e.loss, e.accuracy) for e in calm.history] == [
        (e.number, e.loss, e.accuracy) for e in resumed.history
    ]


def test_a_finished_training_is_not_repeated(few_digits: PackedDataset, tmp_path: Path) -> None:
    first = train("resnet-nano", few_digits, epochs=1, device="cpu", checkpoint_dir=tmp_path)
    again = train("resnet-nano", few_digits, epochs=1, device="cpu", checkpoint_dir=tmp_path, progress=stop_in_epoch(1))
    assert same(first, again)


def test_a_checkpoint_of_another_training_is_refused(few_digits: PackedDataset, tmp_path: Path) -> None:
    train("resnet-nano", few_digits, epochs=1, device="cpu", checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"another training.*images"):
        train("resnet-nano", few_digits, epochs=1, device="cpu", exclude=[0], checkpoint_dir=tmp_path)
    fresh = train("resnet-nano", few_digits, epochs=1, device="cpu", exclude=[0], checkpoint_dir=tmp_path, resume=False)
    assert fresh.n_excluded == 1


def test_dropout_resumes_bit_for_bit_too(few_digits: PackedDataset, tmp_path: Path) -> None:
    card = card_for("resnet-nano", few_digits)

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))

    recipe = Recipe(epochs=3)
    calm = fit(fresh(), card, few_digits, recipe, device="cpu")
    with pytest.raises(Stop):
        fit(fresh(), card, few_digits, recipe, device="cpu", checkpoint_dir=tmp_path, progress=stop_in_epoch(3))
    resumed = fresh()
    torch.manual_seed(123)  # the state of the global generator is no part of the result
    assert same(calm, fit(resumed, card, few_digits, recipe, device="cpu", checkpoint_dir=tmp_path))


def test_excluded_images_have_no_influence(few_digits: PackedDataset, tmp_path: Path) -> None:
    """Training without some images equals training on a pack in which only their pixels differ."""
    from orfila_engine.data import pack
    from orfila_engine.data.derive import Replaced

    out = np.array([1, 5, 9])
    noise = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    changed = pack(Replaced(few_digits, out, noise, few_digits.labels[out]), tmp_path / "changed")
    card = card_for("resnet-nano", few_digits)
    runs = [train(card, p, epochs=1, exclude=out.tolist(), device="cpu") for p in (few_digits, changed)]
    assert same(*runs)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": ("a", "b")}, "2 classes.*has 3"),
        ({"classes": ("digit 0", "digit 1", "zebra")}, "zebra"),
        ({"channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3}, "3 channels"),
        ({"input_size": (16, 16)}, "16 x 16"),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(
    few_digits: PackedDataset, change: dict[str, object], sentence: str
) -> None:
    card = ModelCard(**(card_for("resnet-nano", few_digits).__dict__ | change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=sentence):
        train(card, few_digits, epochs=1, device="cpu")


def test_a_class_without_images_is_refused(few_digits: PackedDataset) -> None:
    zeros = np.flatnonzero(few_digits.train[1] == 0)
    with pytest.raises(ValueError, match="'digit 0'"):
        train("resnet-nano", few_digits, epochs=1, exclude=zeros.tolist(), device="cpu")
    with pytest.raises(ValueError, match=r"0\.\.199"):
        train("resnet-nano", few_digits, epochs=1, exclude=[200], device="cpu")


def test_divergence_is_a_sentence(few_digits: PackedDataset) -> None:
    with pytest.raises(ValueError, match="smaller learning rate"):
        train("resnet-nano", few_digits, epochs=2, lr=1e18, device="cpu")


def test_the_learning_rate_rises_once_and_falls_to_nearly_nothing() -> None:
    rates = [learning_rate(Recipe(learning_rate=0.4), s, 100) for s in range(100)]
    peak = int(np.argmax(rates))
    assert 20 <= peak <= 30
    assert max(rates) <= 0.4
    assert rates[-1] < 0.001
    assert np.all(np.diff(rates[: peak + 1]) > 0)
    assert np.all(np.diff(rates[peak:]) < 0)


def test_an_evaluation_counts_right() -> None:
    logits = np.array([[2, 0, 0], [0, 3, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    result = Evaluation(np.array([0, 1, 0, 0]), logits)
    assert result.accuracy == 0.5
    assert result.confusion.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert result.class_accuracy[:2].tolist() == [1 / 3, 1.0]
    assert np.isnan(result.class_accuracy[2])
    probability = torch.softmax(torch.from_numpy(logits), 1).numpy()
    assert result.confidence == pytest.approx(probability.max(1))
    odds = probability.max(1) / (1 - probability.max(1))
    assert margins(logits, result.predicted) == pytest.approx(np.log(odds), abs=1e-6)


def test_the_batch_size_does_not_change_predictions(drilled, digits: PackedDataset) -> None:
    from orfila_engine.architectures import load_model

    model, card = load_model(drilled.path / "model.safetensors")
    whole, pieces = (evaluate(model, card, *digits.test, batch_size=b, device="cpu") for b in (512, 7))
    assert np.allclose(whole.logits, pieces.logits, atol=1e-4)


def test_devices_are_named_or_refused() -> None:
    assert select_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="use auto"):
        select_device("abacus")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_cuda_learns_as_well(digits: PackedDataset) -> None:
    trained = train("resnet-nano", digits, epochs=8, device="cuda")
    assert evaluate(trained.model, trained.card, *digits.test).accuracy > 0.9


def test_bfloat16_products_leave_float32_weights_and_learn(few_digits: PackedDataset) -> None:
    full, half = (train("resnet-nano", few_digits, epochs=6, precision=p, device="cpu") for p in ("full", "bfloat16"))
    assert not same(full, half)
    assert {t.dtype for t in half.model.parameters()} == {torch.float32}
    assert half.history[-1].accuracy > 0.8 * full.history[-1].accuracy
    assert half.summary()["recipe"]["precision"] == "bfloat16"  # type: ignore[index]


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, full, bfloat16"):
        Recipe(precision="half")  # type: ignore[arg-type]
