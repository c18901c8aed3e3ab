"""Exact derivatives of training losses along a direction in parameter space, by forward-mode differentiation.

g_i . v for every image in one forward pass that carries tangents: no projection, no factorisation, every kind of layer,
normalisation included. It confirms a ranking that an index or EK-FAC made with a direction (docs/method.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.devices import select_device
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.attention import without_fast_path
from orfila_engine.gradients.objectives import Objective, cross_entropy
from orfila_engine.progress import Progress, quiet

BATCH_SIZE = 64


def directional_derivatives(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    direction: Mapping[str, Tensor],
    *,
    objective: Objective = cross_entropy,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: Progress = quiet,
) -> NDArray[np.float32]:
    """g_i . v of N images, [N], with g_i the gradient of `objective` at image i and its label.

    pixels: uint8 [N, H, W, C] of the card's size; labels: [N]. direction: v by the names of `model.named_parameters()`,
    each of its parameter's shape; parameters that are not named do not move. The model is not changed.

    Raises ValueError for a name or a shape that is none of the model's.
    """
    where = select_device(device)
    model = copy.deepcopy(model).eval().requires_grad_(False).to(where)
    parameters = dict(model.named_parameters())
    _check(parameters, direction)
    primals = {name: parameters[name] for name in direction}
    dtype = next(iter(parameters.values())).dtype
    tangents = {name: v.to(where, parameters[name].dtype) for name, v in direction.items()}
    found: list[Tensor] = []
    # Fused attention has no forward-mode derivative.
    with torch.no_grad(), without_fast_path(), sdpa_kernel(SDPBackend.MATH):
        for at, x, y in _batches(card, pixels, labels, where, dtype, batch_size):

            def losses(moved: dict[str, Tensor], x: Tensor = x, y: Tensor = y) -> Tensor:
                return objective(functional_call(model, moved, (x,)), y)

            found.append(jvp(losses, (primals,), (tangents,))[1].float().cpu())
            progress("exact derivatives along the direction", at.stop / len(pixels))
    return torch.cat(found).numpy()


def weighted_gradient(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    *,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: Progress = quiet,
) -> dict[str, Tensor]:
    """sum_i weights_i g_i over N images, by parameter name, in evaluation mode.

    pixels: uint8 [N, H, W, C]; labels, weights: [N]. Parameters without any gradient are left out.
    """
    where = select_device(device)
    model = copy.deepcopy(model).eval().requires_grad_(True).to(where)
    model.zero_grad(set_to_none=True)
    dtype = next(model.parameters()).dtype
    with torch.enable_grad():
        for at, x, y in _batches(card, pixels, labels, where, dtype, batch_size):
            own = torch.from_numpy(weights[at]).to(where, dtype)
            torch.autograd.backward((own * cross_entropy(model(x), y)).sum())
            progress("gradient of a weighted loss", at.stop / len(pixels))
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _batches(
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    device: torch.device,
    dtype: torch.dtype,
    size: int,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    for start in range(0, len(pixels), size):
        at = slice(start, min(start + size, len(pixels)))
        x = normalise(to_tensor(pixels[at]).to(device), card).to(dtype)
        yield at, x, torch.from_numpy(np.array(labels[at])).to(device)


def _check(parameters: Mapping[str, Tensor], direction: Mapping[str, Tensor]) -> None:
    if not direction:
        raise ValueError("the direction names no parameter; give at least one")
    for name, v in direction.items():
        if name not in parameters:
            raise ValueError(f"the model has no parameter '{name}'; name them as model.named_parameters() does")
        if v.shape != parameters[name].shape:
            wanted = tuple(parameters[name].shape)
            raise ValueError(f"the direction of '{name}' has the shape {tuple(v.shape)}, the parameter {wanted}")
