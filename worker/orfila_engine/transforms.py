"""The paper's seven image transforms and the queries drawn with them (Delta-Influence, arXiv 2411.13731).

Transforms act on the picture as a person sees it, in [0, 1]; the model's normalisation comes after. Each query draws
one transform and one label other than the predicted one. The same seed gives the same queries on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torchvision.transforms.v2.functional as T
from torch import Tensor

N_QUERIES = 50
"""n_b of the paper."""


class Queries(NamedTuple):
    """n_b transformed copies of one affected image."""

    images: Tensor
    """[n_b, C, H, W] in [0, 1]."""
    labels: Tensor
    """[n_b], none of them the predicted label."""
    kinds: tuple[str, ...]
    """The transform of each query, a key of TRANSFORMS."""


class _Draw:
    """Numbers from one seeded generator on the CPU."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def below(self, n: int) -> int:
        return int(torch.randint(n, (), generator=self.generator))


def _flip(x: Tensor, draw: _Draw) -> Tensor:
    """Mirror left to right."""
    return x.flip(-1)


def _colour_jitter(x: Tensor, draw: _Draw) -> Tensor:
    """Brightness and contrast .9-1.1, saturation .6-1.4, hue +-.1; a grey picture has only the first two."""
    x = T.adjust_brightness(x, draw.uniform(0.9, 1.1))
    x = T.adjust_contrast(x, draw.uniform(0.9, 1.1))
    saturation, hue = draw.uniform(0.6, 1.4), draw.uniform(-0.1, 0.1)
    return T.adjust_hue(T.adjust_saturation(x, saturation), hue) if len(x) == 3 else x


def _affine(x: Tensor, draw: _Draw) -> Tensor:
    """Rotation by +-180 degrees, scale 1-2, shear +-10 degrees along x; black outside the picture."""
    angle, scale, shear = draw.uniform(-180, 180), draw.uniform(1, 2), draw.uniform(-10, 10)
    moved: Tensor = T.affine(x, angle, [0, 0], scale, [shear, 0.0], interpolation=T.InterpolationMode.BILINEAR)
    return moved


def _elastic(x: Tensor, draw: _Draw) -> Tensor:
    """Random displacements, smoothed with sigma 5 and scaled by alpha 150, as torchvision's ElasticTransform."""
    height, width = x.shape[-2:]
    noise = torch.rand(2, 1, height, width, generator=draw.generator) * 2 - 1
    # 8 sigma + 1 = 41, or as wide as reflection at the border allows on a smaller picture.
    kernel = [min(41, 2 * width - 1), min(41, 2 * height - 1)]
    dx, dy = T.gaussian_blur(noise, kernel, [5.0, 5.0])
    displacement = torch.stack([dx[0] * 150 / width, dy[0] * 150 / height], dim=-1)[None]
    warped: Tensor = T.elastic(x, displacement, interpolation=T.InterpolationMode.BILINEAR)
    return warped


def _blur(x: Tensor, draw: _Draw) -> Tensor:
    """Gaussian blur, kernel 5 wide and 9 high, sigma 8-10."""
    blurred: Tensor = T.gaussian_blur(x, [5, min(9, 2 * x.shape[-2] - 1)], [draw.uniform(8, 10)] * 2)
    return blurred


def _inversion(x: Tensor, draw: _Draw) -> Tensor:
    """The photographic negative."""
    return 1 - x


def _channel_swap(x: Tensor, draw: _Draw) -> Tensor:
    """Another order of the channels; a grey picture has one channel and is mirrored top to bottom instead."""
    if len(x) == 1:
        return x.flip(-2)
    orders = ([0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
    return x[orders[draw.below(len(orders))]]


TRANSFORMS: dict[str, Callable[[Tensor, _Draw], Tensor]] = {
    "flip": _flip,
    "colour jitter": _colour_jitter,
    "affine": _affine,
    "elastic": _elastic,
    "blur": _blur,
    "inversion": _inversion,
    "channel swap": _channel_swap,
}


def transformed_queries(image: Tensor, predicted: int, n_classes: int, n_b: int = N_QUERIES, seed: int = 0) -> Queries:
    """Draw the n_b transformed queries (T_j(x), l_j) of one affected image.

    image: [C, H, W], uint8 or float in [0, 1], C 1 or 3; predicted: the label t that the model gives it.

    Raises ValueError for an image of another kind, a label that is none of the classes, or n_b below 1.
    """
    x = image.cpu().float().div(255) if image.dtype == torch.uint8 else image.cpu().float()
    if x.dim() != 3 or len(x) not in (1, 3) or not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise ValueError("an affected image is [1 or 3 channels, height, width], uint8 or float in [0, 1]")
    if n_classes < 2 or not 0 <= predicted < n_classes:
        raise ValueError(f"the predicted label {predicted} is not one of {n_classes} classes")
    if n_b < 1:
        raise ValueError(f"n_b is {n_b}; at least one transformed query is needed ({N_QUERIES} is usual)")
    draw = _Draw(seed)
    names = list(TRANSFORMS)
    kinds = tuple(names[draw.below(len(names))] for _ in range(n_b))
    images = torch.stack([TRANSFORMS[kind](x, draw).clamp(0, 1) for kind in kinds])
    labels = torch.tensor([draw.below(n_classes - 1) for _ in range(n_b)])
    return Queries(images, labels + (labels >= predicted).long(), kinds)
