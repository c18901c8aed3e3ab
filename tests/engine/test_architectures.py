"""Networks by name, their cards, and safetensors files that are checked before use."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from orfila_engine.architectures import ModelCard, ModelError, build, describe, load_model, names, normalise, save_model
from orfila_engine.architectures.resnet import Projection, SmallResNet

CARD = ModelCard("resnet-nano", ("cat", "dog", "cow"), (28, 28), 1, (0.3,), (0.2,))


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    torch.manual_seed(0)
    save_model(path, build(CARD), CARD)
    return path


def raw(path: Path, header: object, data: bytes = b"") -> Path:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_save_and_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(CARD).eval()
    path = tmp_path / "model.safetensors"
    save_model(path, model, CARD, {"epochs": 3})
    loaded, card = load_model(path)
    assert card == CARD
    assert not loaded.training
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(loaded(x), model(x))
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_card_beside_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(build(CARD).state_dict(), path)
    with pytest.raises(ModelError, match=r"does not say its architecture.*model\.json"):
        load_model(path)
    fields = {k: json.loads(v) if v[0] in "[0123456789" else v for k, v in CARD.to_metadata().items()}
    path.with_suffix(".json").write_text(json.dumps(fields))
    assert load_model(path)[1] == CARD
    del fields["mean"]
    path.with_suffix(".json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="lacks 'mean'"):
        load_model(path)


@pytest.mark.parametrize("name", ["resnet-nano", "resnet-micro", "resnet20-cifar", "resnet18-cifar"])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 50)])
def test_own_networks(name: str, channels: int, size: int) -> None:
    card = ModelCard(name, ("a", "b", "c"), (size, size), channels, (0.5,) * channels, (0.2,) * channels)
    assert build(card).eval()(torch.zeros(2, channels, size, size)).shape == (2, 3)
    assert name in names()
    assert describe(name)


def test_the_benchmark_network_has_its_size() -> None:
    card = ModelCard("resnet20-cifar", tuple("abcdefghij"), (32, 32), 3, (0.5,) * 3, (0.2,) * 3)
    assert 0.25e6 < sum(p.numel() for p in build(card).parameters()) < 0.3e6


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v3_small", "timm:vit_tiny_patch16_224", "timm:resnet18"])
def test_other_libraries(name: str) -> None:
    card = ModelCard(name, ("a", "b", "c"), (32, 32), 3, (0.5,) * 3, (0.2,) * 3)
    assert build(card).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet99", "torchvision:nothing", "timm:nothing", "os:system", ""])
def test_unknown_names(name: str) -> None:
    card = ModelCard(name, ("a", "b"), (32, 32), 3, (0.5,) * 3, (0.2,) * 3)
    with pytest.raises(ValueError, match=r"unknown architecture|has no classifier"):
        build(card)


def test_normalise() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    expected = (torch.tensor([0.0, 0.2, 1.0]) - 0.3) / 0.2
    torch.testing.assert_close(normalise(pixels, CARD).flatten(), expected)
    torch.testing.assert_close(normalise(pixels.double() / 255, CARD).flatten(), expected)


class Payload:
    """A pickle that would leave a mark if it were opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_refused_unopened(tmp_path: Path, protocol: int) -> None:
    mark, path = tmp_path / "ran", tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Payload(mark), protocol))
    with pytest.raises(ModelError, match=r"pickle.*export safetensors"):
        load_model(path)
    assert not mark.exists()


def test_torch_files_and_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(build(CARD).state_dict(), path)
    with pytest.raises(ModelError, match=r"\.pt or zip.*export safetensors"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ModelError, match=r"\.pt or zip"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"abc", b"\x08\x07\x12\x07pytorch\x1a\x04", b"<html>no model</html>"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="export safetensors"):
        load_model(path)


def entry(shape: list[int]) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b'{"a": 1', "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "holds no tensors"),
        (b"[" * 100_000, "not JSON"),
        ({"__metadata__": {"format": 3}, "a": entry([0])}, "not text"),
        ({"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}, "not one of safetensors"),
        (b'{"a": {"dtype": "F32", "shape": [0]}, "a": {"dtype": "F32", "shape": [0]}}', "twice"),
        ({str(i): entry([0]) for i in range(100_001)}, "100,001 tensors"),
    ],
)
def test_bad_headers(tmp_path: Path, header: object, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load_model(raw(tmp_path / "model.safetensors", header), CARD)


def test_impossible_header_length(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for length in (2**62, 17 * 2**20, 1):
        path.write_bytes(struct.pack("<Q", length) + b"{}" * 50)
        with pytest.raises(ModelError, match="header length is impossible"):
            load_model(path)


def test_truncated_data(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="damaged"):
        load_model(path)


def test_tensors_of_another_network(tmp_path: Path) -> None:
    path = saved(tmp_path)
    micro = ModelCard("resnet-micro", CARD.classes, (28, 28), 1, CARD.mean, CARD.std)
    with pytest.raises(ModelError, match=r"'stem.0.weight' has shape \[8, 1, 3, 3\].*needs \[16, 1, 3, 3\]"):
        load_model(path, micro)
    with pytest.raises(ModelError, match=r"do not fit torchvision:resnet18: \d+ missing \(e\.g\. conv1\.weight"):
        load_model(path, ModelCard("torchvision:resnet18", CARD.classes, (28, 28), 3, (0.5,) * 3, (0.2,) * 3))


def test_another_number_of_classes(tmp_path: Path) -> None:
    path = saved(tmp_path)
    four = ModelCard("resnet-nano", (*CARD.classes, "fox"), (28, 28), 1, CARD.mean, CARD.std)
    with pytest.raises(ModelError, match=r"'classifier.weight' has shape \[3, 32\].*4 classes needs \[4, 32\]"):
        load_model(path, four)


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    model = build(CARD)
    assert isinstance(model.classifier, nn.Linear)
    with torch.no_grad():
        model.classifier.bias[1] = float("nan")
    path = tmp_path / "model.safetensors"
    save_model(path, model, CARD)
    with pytest.raises(ModelError, match=r"'classifier.bias' holds NaN"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": ("one",)}, "at least two classes"),
        ({"channels": 2}, "images have 1 or 3"),
        ({"mean": (0.1, 0.2)}, "mean and std need 1"),
        ({"std": (0.0,)}, "positive"),
    ],
)
def test_impossible_cards(change: dict[str, object], sentence: str) -> None:
    fields = {k: getattr(CARD, k) for k in ("architecture", "classes", "input_size", "channels", "mean", "std")}
    with pytest.raises(ValueError, match=sentence):
        ModelCard(**(fields | change))


@pytest.mark.parametrize("c_in", [8, 16])
def test_a_projection_is_a_strided_convolution_without_one(c_in: int) -> None:
    """Strided 1x1 convolutions of 8 channels corrupt memory on two threads (see `Projection`)."""
    torch.manual_seed(0)
    projection = Projection(c_in, 2 * c_in, 2).eval()
    strided = nn.Conv2d(c_in, 2 * c_in, 1, 2, bias=False)
    strided.weight = projection[0].weight
    x = torch.randn(3, c_in, 15, 15)
    torch.testing.assert_close(projection(x), projection[1](strided(x)))
    own = [m for m in SmallResNet(1, 10, (8, 16, 32), 1).modules() if isinstance(m, nn.Conv2d)]
    assert not [m for m in own if m.kernel_size == (1, 1) and m.stride != (1, 1)]
