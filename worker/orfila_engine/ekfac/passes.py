"""Passes over images: batches, and per-example gradients of one layer at a time as the backward pass reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.hooked import HookedLayer, HookedModel
from orfila_engine.gradients.objectives import Objective

BATCH_SIZE = 64
BATCH_SIZE_CUDA = 256
_MAX_GRADIENTS = {"cpu": 2**27, "cuda": 2**29}
"""Numbers in one layer's per-example gradients of a batch."""


@dataclass(frozen=True)
class Images:
    """Training images in batches."""

    hooked: HookedModel
    card: ModelCard
    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    batch_size: int

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        for start in range(0, len(self.rows), self.batch_size):
            rows = self.rows[start : start + self.batch_size]
            yield rows, normalise(to_tensor(self.pixels[rows]).to(self.hooked.device), self.card)


def collect(
    hooked: HookedModel,
    x: Tensor,
    labels: Tensor,
    objective: Objective,
    form: Callable[[HookedLayer, Tensor, Tensor], Tensor],
    use: Callable[[HookedLayer, Tensor], None],
) -> None:
    """One pass over a batch that hands on each layer's per-example gradients once they are whole.

    form(layer, input, output gradient) -> per-example gradients [N, ...]; use(layer, gradients [N, ...]). A module that
    is called several times has the sum over its calls as its gradient; only for such modules is anything held until
    the end of the pass.
    """
    held: dict[str, Tensor] = {}

    def receive(layer: HookedLayer, a: Tensor, b: Tensor) -> None:
        each = form(layer, a, b)
        if layer.n_calls == 1:
            use(layer, each)
        else:
            held[layer.name] = held[layer.name] + each if layer.name in held else each

    hooked.run(x, labels, objective, receive)
    for layer in hooked.layers:
        if layer.name in held:
            use(layer, held[layer.name])


def scaled_basis(layer: HookedLayer, output_basis: Tensor) -> Tensor:
    """V with the folded scale, so that V^T turns gradients at the folded output; [g, O, O]."""
    if layer.scale is None:
        return output_basis
    return layer.scale.view(output_basis.shape[0], -1, 1) * output_basis


def batch_size_for(hooked: HookedModel, *, half: bool = False) -> int:
    """Images in one pass, such that the per-example gradients of the largest layer stay within bounds.

    half: half of that, for a device that ran out of memory.
    """
    usual = BATCH_SIZE_CUDA if hooked.device.type == "cuda" else BATCH_SIZE
    largest = max(layer.fan_in * layer.fan_out for layer in hooked.layers)
    bounded = min(usual, _MAX_GRADIENTS.get(hooked.device.type, 2**27) // largest)
    return max(1, bounded // 2 if half else bounded)
