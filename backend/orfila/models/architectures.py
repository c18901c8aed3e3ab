"""Architectures to offer. The engine's registry builds them; a test keeps the two lists equal."""

from orfila.errors import Unprocessable
from orfila.models.schemas import Architecture

_OFFERED = {
    "resnet-nano": "ResNet of 3 blocks, widths 8-16-32: pictures of 8 to 28 px",
    "resnet-micro": "ResNet of 3 blocks, widths 16-32-64 (0.08 M): pictures of 28 to 32 px",
    "resnet20-cifar": "ResNet-20 for CIFAR (0.27 M, He 2016)",
    "resnet18-cifar": "ResNet-18 in its CIFAR form (11 M)",
    "torchvision:resnet18": "resnet18 of torchvision",
    "torchvision:mobilenet_v3_small": "mobilenet_v3_small of torchvision",
    "torchvision:efficientnet_b0": "efficientnet_b0 of torchvision",
    "torchvision:convnext_tiny": "convnext_tiny of torchvision",
    "torchvision:vit_b_16": "vit_b_16 of torchvision",
    "timm:resnet18": "resnet18 of timm",
    "timm:mobilenetv3_small_100": "mobilenetv3_small_100 of timm",
    "timm:efficientnet_b0": "efficientnet_b0 of timm",
    "timm:convnext_atto": "convnext_atto of timm",
    "timm:vit_tiny_patch16_224": "vit_tiny_patch16_224 of timm",
}


def offered() -> list[Architecture]:
    """What a form can list. The number of parameters depends on classes and channels: it is known after the check."""
    return [Architecture(name=n, description=d, n_parameters=None) for n, d in _OFFERED.items()]


def require_known(name: str) -> None:
    """Refuse a name that no registry can know; whether torchvision or timm have a NAME, the worker finds out."""
    library, colon, rest = name.partition(":")
    if name in _OFFERED or (colon and rest and library in ("torchvision", "timm")):
        return
    own = ", ".join(n for n in _OFFERED if ":" not in n)
    raise Unprocessable(
        f"The architecture '{name[:80]}' is not known; use {own}, torchvision:NAME or timm:NAME.",
        code="unknown_architecture",
    )
