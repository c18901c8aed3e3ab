"""How an architecture is recognised by the names and shapes of its tensors, so that a form can be filled in.

The server has no torch. It reads a table that this module writes:

    python -m orfila_engine.architectures.signatures > backend/orfila/models/signatures.json
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import torch

from orfila_engine.architectures.card import ModelCard
from orfila_engine.architectures.registry import build, names

_FURTHER = (
    *(f"torchvision:{n}" for n in ("resnet34", "resnet50", "resnet101", "wide_resnet50_2", "mobilenet_v2")),
    *(f"torchvision:{n}" for n in ("mobilenet_v3_large", "efficientnet_b1", "efficientnet_v2_s", "convnext_small")),
    *(f"torchvision:{n}" for n in ("vgg11_bn", "vgg16", "vgg16_bn", "densenet121", "squeezenet1_1")),
    *(f"torchvision:{n}" for n in ("shufflenet_v2_x1_0",)),
    *(f"timm:{n}" for n in ("resnet26", "resnet50", "mobilenetv3_large_100", "convnext_tiny", "convnext_nano")),
    *(f"timm:{n}" for n in ("efficientnet_lite0", "ghostnet_100", "mixer_s16_224")),
)
"""Recognised beside the names that are offered."""
COUNTER = "num_batches_tracked"
"""Of batch norm; some exports leave it out."""
_SIZE = 224


def signature(name: str) -> dict[str, Any]:
    """What tells an architecture: tensors that depend on classes, channels and size, and the digest of the others.

    head: tensor -> axis of the classes. stem: tensor -> axis of the channels. sized: tensors that depend on the size.
    """
    base = _shapes(name, 7, 3, _SIZE)
    head = _differing(base, _shapes(name, 11, 3, _SIZE))
    grey = {} if name.startswith("torchvision:") else _differing(base, _shapes(name, 7, 1, _SIZE))
    by_size = name.partition(":")[2].startswith(("vit_", "deit", "swin"))
    sized = sorted(_differing(base, _shapes(name, 7, 3, 2 * _SIZE))) if by_size else []
    apart = {*head, *grey, *sized}
    rest = {k: v for k, v in base.items() if k not in apart}
    return {"name": name, "head": head, "stem": grey, "sized": sized, "digest": digest_of(rest)}


def digest_of(shapes: dict[str, list[int]]) -> str:
    """SHA-256 of names and shapes, in the order of the names."""
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _shapes(name: str, n_classes: int, channels: int, size: int) -> dict[str, list[int]]:
    classes = tuple(str(k) for k in range(n_classes))
    card = ModelCard(name, classes, (size, size), channels, (0.5,) * channels, (0.5,) * channels)
    with torch.device("meta"):
        model = build(card)
    return {k: list(v.shape) for k, v in model.state_dict().items() if not k.endswith(COUNTER)}


def _differing(one: dict[str, list[int]], other: dict[str, list[int]]) -> dict[str, int]:
    """Tensor -> the axis in which two builds differ."""
    found = {}
    for name, shape in one.items():
        axes = [axis for axis, (a, b) in enumerate(zip(shape, other[name], strict=True)) if a != b]
        if axes:
            found[name] = axes[0]
    return found


if __name__ == "__main__":
    json.dump([signature(name) for name in (*names(), *_FURTHER)], sys.stdout, indent=1)
    print()
