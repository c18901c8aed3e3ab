"""Architectures by name: our small ResNets, `torchvision:NAME` and `timm:NAME`. Never a class from an upload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from orfila_engine.architectures.card import ModelCard
from orfila_engine.architectures.resnet import SmallResNet


@dataclass(frozen=True)
class _Own:
    description: str
    make: Callable[[ModelCard], nn.Module]


def _resnet(widths: tuple[int, ...], blocks: int) -> Callable[[ModelCard], nn.Module]:
    return lambda card: SmallResNet(card.channels, len(card.classes), widths, blocks)


_OWN = {
    "resnet-nano": _Own("ResNet of 3 blocks, widths 8-16-32: pictures of 8 to 28 px", _resnet((8, 16, 32), 1)),
    "resnet-micro": _Own(
        "ResNet of 3 blocks, widths 16-32-64 (0.08 M): pictures of 28 to 32 px", _resnet((16, 32, 64), 1)
    ),
    "resnet20-cifar": _Own("ResNet-20 for CIFAR (0.27 M, He 2016)", _resnet((16, 32, 64), 3)),
    "resnet18-cifar": _Own("ResNet-18 in its CIFAR form (11 M)", _resnet((64, 128, 256, 512), 2)),
}
_TORCHVISION = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16")
_TIMM = ("resnet18", "mobilenetv3_small_100", "efficientnet_b0", "convnext_atto", "vit_tiny_patch16_224")


def names() -> list[str]:
    """Names to offer. Every other torchvision or timm classifier works as well, by `torchvision:NAME`, `timm:NAME`."""
    return [*_OWN, *(f"torchvision:{n}" for n in _TORCHVISION), *(f"timm:{n}" for n in _TIMM)]


def describe(name: str) -> str:
    """One line about an architecture."""
    if name in _OWN:
        return _OWN[name].description
    library, _, rest = name.partition(":")
    return f"{rest} of {library}"


def build(card: ModelCard) -> nn.Module:
    """A freshly initialised network for a card, in training mode, on the CPU. Nothing is downloaded.

    Raises ValueError for a name that is not known, with the names that are.
    """
    if card.architecture in _OWN:
        return _OWN[card.architecture].make(card)
    library, _, name = card.architecture.partition(":")
    if library == "torchvision":
        return _torchvision(name, card)
    if library == "timm":
        return _timm(name, card)
    raise ValueError(
        f"unknown architecture '{card.architecture}'; use one of {', '.join(_OWN)}, or torchvision:NAME, or timm:NAME"
    )


def _torchvision(name: str, card: ModelCard) -> nn.Module:
    import torchvision.models

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"torchvision has no classifier '{name}'; see torchvision.models.list_models()")
    if card.channels != 3:
        raise ValueError(f"torchvision:{name} takes 3 channels, the card says {card.channels}")
    kwargs = {"image_size": card.input_size[0]} if name.startswith("vit_") else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=len(card.classes), **kwargs)
    return model


def _timm(name: str, card: ModelCard) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise ValueError(f"timm has no classifier '{name}'; see timm.list_models()")
    kwargs: dict[str, Any] = {"img_size": card.input_size} if name.startswith(("vit_", "deit", "swin")) else {}
    model: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=len(card.classes), in_chans=card.channels, **kwargs
    )
    return model
