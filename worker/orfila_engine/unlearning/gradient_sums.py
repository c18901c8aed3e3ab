"""Gradients of the training loss over a set of training images, one number for each parameter.

Taken in evaluation mode, as the deployed model answers, with the true labels and without augmentation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import to_tensor
from orfila_engine.progress import Progress, quiet

Gradients = dict[str, Tensor]
"""By parameter name, each of its parameter's shape."""


def mean_gradient(
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    indices: NDArray[np.int64],
    *,
    weights: NDArray[np.float64] | None = None,
    batch_size: int = 64,
    progress: Progress = quiet,
) -> Gradients:
    """sum_i w_i g_i / sum_i w_i over the images `indices`, g_i = d CE(f(x_i), y_i) / d theta.

    model: on the device to compute on. weights: [len(indices)], 1 by default.
    """
    parameters = dict(model.named_parameters())
    device = next(iter(parameters.values())).device
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    weight = np.ones(len(indices)) if weights is None else weights
    for loss, at in _losses(model, card, packed, indices, batch_size):
        scale = torch.from_numpy(weight[at] / weight.sum()).to(device, loss.dtype)
        for name, gradient in _gradients(parameters, (loss * scale).sum()).items():
            total[name] += gradient
        progress("gradients", at.stop / len(indices))
    return total


def squared_gradient(
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    indices: NDArray[np.int64],
    *,
    batch_size: int,
    progress: Progress = quiet,
) -> Gradients:
    """Mean over batches of the squared mean gradient of each: the diagonal of the Fisher, estimated as SSD does.

    For batches of one image it is the diagonal of the empirical Fisher itself. Sets that are compared need the same
    batch size.
    """
    parameters = dict(model.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    n_batches = -(-len(indices) // batch_size)
    for loss, at in _losses(model, card, packed, indices, batch_size):
        for name, gradient in _gradients(parameters, loss.mean()).items():
            total[name] += gradient.square() / n_batches
        progress("importance of parameters", at.stop / len(indices))
    return total


def _losses(
    model: nn.Module, card: ModelCard, packed: PackedDataset, indices: NDArray[np.int64], batch_size: int
) -> Iterator[tuple[Tensor, slice]]:
    """The losses [B] of each batch, and which of `indices` they are."""
    device = next(model.parameters()).device
    model.eval()
    for start in range(0, len(indices), batch_size):
        at = slice(start, min(start + batch_size, len(indices)))
        x = normalise(to_tensor(packed.pixels[indices[at]]).to(device), card)
        y = torch.from_numpy(packed.labels[indices[at]]).to(device)
        with torch.enable_grad():
            yield F.cross_entropy(model(x).float(), y, reduction="none"), at


def _gradients(parameters: dict[str, nn.Parameter], objective: Tensor) -> Gradients:
    found = torch.autograd.grad(objective, list(parameters.values()), allow_unused=True)
    return {name: g for name, g in zip(parameters, found, strict=True) if g is not None}


def length(gradients: Gradients) -> float:
    """Euclidean length over all parameters."""
    return float(torch.stack([g.double().square().sum() for g in gradients.values()]).sum().sqrt())
