"""What an investigation says about a model that never learned the data, and about layers that nobody looks at."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orfila_engine.architectures import build, load_model
from orfila_engine.caveats import kept_training_accuracy, training_accuracy, unindexed, untrained
from orfila_engine.data import PackedDataset, pack
from orfila_engine.data.sources import Arrays
from orfila_engine.drill import DrillResult
from orfila_engine.evaluation import evaluate
from orfila_engine.fingerprint import FingerprintIndex, build_index
from orfila_engine.gradients import GradientProjector
from orfila_engine.investigation import Affected, affected_from_test, investigate
from orfila_engine.report import write_report
from orfila_engine.training import card_for


def labelled(counts: list[int], tmp_path: Path) -> PackedDataset:
    """Blank pictures, so many of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.concatenate([labels, np.arange(len(counts))])
    images = np.zeros((len(labels), 8, 8, 1), np.uint8)
    source = Arrays(images, labels, sum(counts), tuple("abcdefghij"[: len(counts)]))
    return pack(source, tmp_path / "pack")


@pytest.mark.parametrize(
    ("counts", "accuracy", "warned"),
    [
        ([50, 50], 0.53, True),
        ([50, 50], 0.98, False),
        ([10] * 10, 0.18, True),
        ([10] * 10, 0.20, False),
        ([90, 10], 0.9, True),
        ([90, 10], 0.95, False),
        ([90, 10], 0.1, True),
    ],
)
def test_a_model_no_better_than_guessing_is_warned_of(
    counts: list[int], accuracy: float, warned: bool, tmp_path: Path
) -> None:
    said = untrained(accuracy, labelled(counts, tmp_path))
    assert (said is not None) is warned
    if said is not None:
        assert f"only {accuracy:.0%}" in said
        assert f"guessing would reach {max(counts) / sum(counts):.0%}" in said


def test_training_accuracy_is_that_of_an_even_sample(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    whole = evaluate(model, card, *drilled.packed.train, device="cpu").accuracy
    assert training_accuracy(model, card, drilled.packed, device="cpu") == whole > 0.95
    assert training_accuracy(model, card, drilled.packed, sample=100, device="cpu") == pytest.approx(whole, abs=0.1)


def test_it_is_computed_once_for_an_index(drilled: DrillResult, tmp_path: Path) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    first = kept_training_accuracy(model, card, drilled.packed, tmp_path)
    (tmp_path / "training-accuracy.json").write_text(json.dumps(0.123))
    assert first > 0.95
    assert kept_training_accuracy(model, card, drilled.packed, tmp_path) == 0.123


def test_a_finding_of_a_sound_model_has_no_caveat(drilled: DrillResult) -> None:
    summary = drilled.investigation.summary
    assert summary["warnings"] == []
    assert summary["training_accuracy"] > 0.95
    assert {item["kind"] for item in summary["left_out"]} == {"BatchNorm2d"}
    model, _ = load_model(drilled.path / "model.safetensors")
    assert summary["n_parameters"] == sum(p.numel() for p in model.parameters())


def test_a_model_that_never_saw_the_data_is_warned_of(digits: PackedDataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = card_for("resnet-nano", digits)
    model = build(card).eval()
    index = build_index(model, card, *digits.train, tmp_path / "index", data_digest=digits.digest, device="cpu")
    predicted = evaluate(model, card, *digits.test, device="cpu").predicted
    wrong = int(np.flatnonzero(predicted != digits.test[1])[0])
    affected = affected_from_test(digits, digits.n_train + wrong)
    found = investigate(index, digits, model, card, [affected], n_b=10, out_dir=tmp_path / "out")
    (said,) = found.summary["warnings"]
    assert "was it trained on this data set" in said
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["warnings"] == [said]
    write_report(tmp_path / "out", digits, tmp_path / "report.html")
    assert f'<p class="warning">{said}</p>' in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_of_one_or_two_images_is_investigated_and_warned_of(
    digits: PackedDataset, count: int, tmp_path: Path
) -> None:
    labels = digits.train[1]
    rows = np.concatenate([np.flatnonzero(labels < 3)[:200], np.flatnonzero(labels == 3)[:count]])
    tests = digits.n_train + np.flatnonzero(digits.test[1] < 4)
    chosen = np.concatenate([rows, tests])
    source = Arrays(np.array(digits.pixels[chosen]), digits.labels[chosen], len(rows), tuple("abcd"))
    packed = pack(source, tmp_path / "pack")
    torch.manual_seed(0)
    card = card_for("resnet-nano", packed)
    model = build(card).eval()
    assert isinstance(model.classifier, nn.Linear)
    with torch.no_grad():
        model.classifier.bias[3] += 100.0  # every image is called 'd'
    index = build_index(model, card, *packed.train, tmp_path / "index", data_digest=packed.digest, device="cpu")
    affected = affected_from_test(packed, packed.n_train + int(np.flatnonzero(packed.test[1] == 0)[0]))
    found = investigate(index, packed, model, card, [affected], n_b=10, out_dir=tmp_path / "out")
    assert found.summary["n_suspects"] == count
    assert len(found.flagged) == 0
    said = next(w for w in found.summary["warnings"] if "too few" in w)
    assert said.startswith(f"Only {count} training {'image carries' if count == 1 else 'images carry'} the label 'd'")


class Recurrent(nn.Module):
    """Most of the parameters lie in a layer that has no index."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(8, 24, batch_first=True)
        self.classifier = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.rows(x[:, 0])[0][:, -1])
        return out


def test_a_layer_that_cannot_be_indexed_is_named_with_what_is_missed(digits: PackedDataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, card = Recurrent().eval(), card_for("resnet-nano", digits)
    index = build_index(model, card, *digits.train, tmp_path / "index", data_digest=digits.digest, device="cpu")
    image, label = digits.test[0][0], int(digits.test[1][0])
    said = int(evaluate(model, card, image[None], np.array([label]), device="cpu").predicted[0])
    affected = Affected(np.array(image), "digit.png", (said + 1) % 10)
    summary = investigate(index, digits, model, card, [affected], n_b=10, out_dir=tmp_path / "out").summary
    missed = sum(p.numel() for p in model.rows.parameters())
    assert summary["left_out"] == [
        {"name": "rows", "kind": "LSTM", "n_parameters": missed, "reason": "only Conv2d and Linear layers are indexed"}
    ]
    warning = next(w for w in summary["warnings"] if "not looked at" in w)
    assert f"{missed:,} of the model's {missed + 250:,} parameters" in warning
    assert "1 layer 'rows' (LSTM" in warning
    assert FingerprintIndex.open(tmp_path / "index", "cpu").left_out == GradientProjector(model, (1, 8, 8)).left_out


def test_little_that_is_left_out_is_no_caveat() -> None:
    norms = [{"name": "bn", "kind": "BatchNorm2d", "n_parameters": 40, "reason": "normalisation"}]
    assert unindexed(norms, 1_000) is None
    assert unindexed([], 0) is None
    many = [*norms, {"name": "scan", "kind": "GRU", "n_parameters": 70, "reason": "no index"}]
    said = unindexed(many, 1_000)
    assert said is not None
    assert "110 of the model's 1,000 parameters (11%)" in said
    assert "2 layers, the largest of them 'scan' (GRU, 70 parameters: no index)" in said
