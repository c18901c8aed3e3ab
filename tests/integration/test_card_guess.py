"""The server tells an architecture by its tensors, without torch; its table is what the engine writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from orfila.models import architectures, guessing
from orfila_engine.architectures import ModelCard, save_model
from orfila_engine.architectures.registry import build
from orfila_engine.architectures.signatures import signature

TABLE = json.loads((Path(guessing.__file__).with_name("signatures.json")).read_text())
OFFERED = [a.name for a in architectures.offered()]


def card(name: str, n_classes: int, channels: int, size: int = 224) -> ModelCard:
    classes = tuple(f"class {k}" for k in range(n_classes))
    return ModelCard(name, classes, (size, size), channels, (0.5,) * channels, (0.5,) * channels)


@pytest.mark.parametrize("name", OFFERED)
def test_the_table_is_what_the_engine_writes(name: str) -> None:
    assert next(entry for entry in TABLE if entry["name"] == name) == signature(name)


def test_every_offered_architecture_is_recognised() -> None:
    assert [entry["name"] for entry in TABLE][: len(OFFERED)] == OFFERED


@pytest.mark.parametrize(
    ("name", "n_classes", "channels", "size"),
    [
        ("resnet-nano", 5, 1, 28),
        ("resnet20-cifar", 100, 3, 32),
        ("torchvision:resnet18", 37, 3, 224),
        ("torchvision:mobilenet_v3_small", 4, 3, 224),
        ("timm:vit_tiny_patch16_224", 6, 1, 96),
        ("timm:convnext_atto", 10, 3, 64),
    ],
)
def test_a_file_without_a_card_is_told_by_its_tensors(
    tmp_path: Path, name: str, n_classes: int, channels: int, size: int
) -> None:
    path = tmp_path / "model.safetensors"
    state = build(card(name, n_classes, channels, size)).state_dict()
    save_file({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    with path.open("rb") as file:
        found = guessing.guess(file, path.stat().st_size)
    assert found.card is None
    assert name in found.architectures
    assert (found.n_classes, found.channels) == (n_classes, channels)
    assert found.n_parameters == sum(v.numel() for k, v in state.items() if "num_batches" not in k)


def test_a_card_in_the_file_is_read_and_unknown_tensors_fit_nothing(tmp_path: Path) -> None:
    known, unknown = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    made = card("resnet-nano", 3, 1, 8)
    save_model(known, build(made), made)
    save_file({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, unknown)
    with known.open("rb") as file:
        found = guessing.guess(file, known.stat().st_size)
    assert found.card is not None
    assert (found.card.architecture, found.architectures) == ("resnet-nano", ["resnet-nano"])
    with unknown.open("rb") as file:
        nothing = guessing.guess(file, unknown.stat().st_size)
    assert (nothing.card, nothing.architectures, nothing.n_classes, nothing.n_parameters) == (None, [], None, 15)
