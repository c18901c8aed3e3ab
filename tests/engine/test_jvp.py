"""Forward-mode derivatives against reverse mode, for every kind of layer and for whole architectures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_gradients import MODELS, named, prepared
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.objectives import Objective, cross_entropy, measurement
from orfila_engine.jvp import directional_derivatives, weighted_gradient

ARCHITECTURES = {
    "resnet20-cifar": (3, 32),
    "torchvision:mobilenet_v3_small": (3, 64),
    "timm:vit_tiny_patch16_224": (3, 32),
    "timm:convnext_atto": (3, 64),
}
N = 3
LABELS = np.array([0, 3, 1])


def card(channels: int = 3, size: int = 9) -> ModelCard:
    return ModelCard("test", tuple("abcd"), (size, size), channels, (0.5,) * channels, (0.25,) * channels)


def pictures(size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (N, size, size, 3), dtype=np.uint8)


def by_reverse_mode(
    model: nn.Module, about: ModelCard, direction: dict[str, Tensor], objective: Objective
) -> list[float]:
    parameters = dict(model.named_parameters())
    out = []
    for picture, label in zip(pictures(about.input_size[0]), LABELS, strict=True):
        loss = objective(model(normalise(to_tensor(picture[None]), about).double()), torch.tensor([label])).sum()
        found = torch.autograd.grad(loss, [parameters[n] for n in direction], allow_unused=True)
        products = [(g * v).sum() for g, v in zip(found, direction.values(), strict=True) if g is not None]
        out.append(float(torch.stack(products).sum().detach()))
    return out


def assert_agrees(make: Callable[[], nn.Module], about: ModelCard, objective: Objective) -> None:
    model = prepared(make)
    torch.manual_seed(5)
    direction = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    got = directional_derivatives(
        model, about, pictures(about.input_size[0]), LABELS, direction, objective=objective, device="cpu", batch_size=2
    )
    assert got == pytest.approx(by_reverse_mode(model, about, direction, objective), rel=1e-5)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_layer(kind: str) -> None:
    assert_agrees(MODELS[kind], card(), measurement)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures(architecture: str) -> None:
    channels, size = ARCHITECTURES[architecture]
    assert_agrees(named(architecture, channels, size), card(channels, size), cross_entropy)


def test_a_part_of_the_parameters() -> None:
    model = prepared(MODELS["batch normalisation"])
    direction = {"body.2.weight": torch.ones(6, dtype=torch.float64)}
    got = directional_derivatives(model, card(), pictures(9), LABELS, direction, device="cpu")
    assert got == pytest.approx(by_reverse_mode(model, card(), direction, cross_entropy), rel=1e-5)


def test_the_weighted_gradient_is_the_sum_of_gradients() -> None:
    model = prepared(MODELS["tokens"])
    weights = np.array([0.5, -1.0, 2.0], dtype=np.float32)
    total = weighted_gradient(model, card(), pictures(9), LABELS, weights, device="cpu", batch_size=2)
    direction = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    each = directional_derivatives(model, card(), pictures(9), LABELS, direction, device="cpu")
    product = sum(float((total[name] * direction[name]).sum()) for name in direction)
    assert product == pytest.approx(float(weights @ each), rel=1e-5)


def test_what_is_no_direction_is_refused() -> None:
    model = prepared(MODELS["plain"])
    for direction, words in (
        ({}, "names no parameter"),
        ({"nowhere.weight": torch.zeros(1)}, "no parameter 'nowhere.weight'"),
        ({"classifier.bias": torch.zeros(5)}, r"shape \(5,\), the parameter \(4,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            directional_derivatives(model, card(), pictures(9), LABELS, direction, device="cpu")
