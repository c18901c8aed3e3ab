"""The models of the paper and those that users bring: the index agrees with autograd on every layer of each.

Architectures at random weights, in float64, with batch normalisation that has statistics. `test_gradients` holds the
kinds of layers one by one; here are whole networks as torchvision and timm build them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, build
from orfila_engine.data import PackedDataset, pack
from orfila_engine.data.sources import Arrays
from orfila_engine.fingerprint import IndexSpec, build_index
from orfila_engine.gradients import GradientProjector, ProjectionSpec, measurement
from orfila_engine.gradients.random import projection
from orfila_engine.training import train

SPEC = ProjectionSpec(k_in=3, k_out=2, k_in_vector=4, seed=5)
CLASSES = tuple("abcd")


def named(architecture: str, size: int) -> Callable[[], nn.Module]:
    return lambda: build(ModelCard(architecture, CLASSES, (size, size), 3, (0.5,) * 3, (0.25,) * 3))


def small_torchvision_vit() -> nn.Module:
    """torchvision's own ViT; its smallest named one has 86 million parameters."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=48, num_classes=len(CLASSES))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18-cifar": (named("resnet18-cifar", 32), 32),
    "torchvision:resnet18": (named("torchvision:resnet18", 64), 64),
    "timm:resnet18": (named("timm:resnet18", 64), 64),
    "torchvision:mobilenet_v2": (named("torchvision:mobilenet_v2", 64), 64),
    "torchvision:mobilenet_v3_small": (named("torchvision:mobilenet_v3_small", 64), 64),
    "timm:mobilenetv3_small_100": (named("timm:mobilenetv3_small_100", 64), 64),
    "torchvision:efficientnet_b0": (named("torchvision:efficientnet_b0", 64), 64),
    "timm:efficientnet_b0": (named("timm:efficientnet_b0", 64), 64),
    "torchvision:convnext_tiny": (named("torchvision:convnext_tiny", 64), 64),
    "timm:convnext_atto": (named("timm:convnext_atto", 64), 64),
    "torchvision ViT": (small_torchvision_vit, 32),
    "timm:vit_tiny_patch16_224": (named("timm:vit_tiny_patch16_224", 32), 32),
}


def prepared(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = make().double().eval()
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.Linear) and "head" in name:
            # torchvision's ViT starts with a head of zeros, behind which every gradient is zero.
            nn.init.normal_(module.weight, std=0.2)
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] in ("gamma", "layer_scale"):
            nn.init.ones_(parameter)  # ConvNeXt's 1e-6 would hide every block behind rounding
    return model


def weights_of(model: nn.Module, layer: str) -> tuple[Tensor, Tensor | None]:
    if layer.endswith("in_proj"):
        attention = model.get_submodule(layer.removesuffix(".in_proj"))
        assert isinstance(attention, nn.MultiheadAttention)
        return attention.in_proj_weight, attention.in_proj_bias
    module = model.get_submodule(layer)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module.weight, module.bias


@pytest.mark.parametrize("network", NETWORKS)
def test_the_index_agrees_with_autograd_on_every_layer(network: str) -> None:
    make, size = NETWORKS[network]
    model = prepared(make)
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    projector = GradientProjector(model, (3, size, size), SPEC)
    got = projector(x, torch.tensor([3]), measurement)[0]
    wanted: list[Tensor] = []
    for layer in projector.layers:
        weight, bias = weights_of(model, layer.name)
        wanted += [weight] if bias is None else [weight, bias]
    gradients = iter(torch.autograd.grad(measurement(model(x), torch.tensor([3])).sum(), wanted))
    for layer in projector.layers:
        _, bias = weights_of(model, layer.name)
        gradient = next(gradients).flatten(1)
        if bias is not None:
            gradient = torch.cat([gradient, next(gradients)[:, None]], dim=1)
        p_b = projection(SPEC.seed, layer.name, "output", layer.k_b, gradient.shape[0])
        p_a = projection(SPEC.seed, layer.name, "input", layer.k_a, gradient.shape[1])
        expected = p_b @ gradient @ p_a.T
        assert expected.abs().max() > 0, layer.name
        found = got[layer.columns].view_as(expected)
        assert float((found - expected).norm() / expected.norm()) < 1e-8, layer.name


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_left_out_is_named_and_small(network: str) -> None:
    """Normalisation, layer scales, class token and positions: under 3 % of the parameters, and the sum is the model."""
    make, size = NETWORKS[network]
    model = make().eval()
    projector = GradientProjector(model, (3, size, size), SPEC)
    left_out = sum(item.n_parameters for item in projector.left_out)
    total = sum(p.numel() for p in model.parameters())
    assert sum(layer.n_parameters for layer in projector.layers) + left_out == total
    assert left_out <= 0.03 * total
    assert all(item.name and item.reason for item in projector.left_out)


@pytest.mark.parametrize("architecture", ["timm:vit_tiny_patch16_224", "timm:convnext_atto", "timm:efficientnet_b0"])
def test_other_networks_train_and_are_indexed(architecture: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    packed: PackedDataset = pack(Arrays(images, np.arange(24) % 4, 16, CLASSES), tmp_path / "pack")
    trained = train(architecture, packed, epochs=1, batch_size=8, lr=0.01, device="cpu")
    spec = IndexSpec(k_in=4, k_out=4, k_in_vector=8)
    index = build_index(trained.model, trained.card, *packed.train, tmp_path / "index", spec=spec, device="cpu")
    assert np.all(np.isfinite(index.self_influence))
    # Hardly trained networks are so sure of some images that their loss, and its gradient, is zero.
    assert np.mean(index.self_influence > 0) > 0.5
