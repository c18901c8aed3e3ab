"""Penultimate features: what the last layer of a classifier sees of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.devices import select_device
from orfila_engine.evaluation import to_tensor
from orfila_engine.progress import Progress, quiet


def penultimate_features(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    *,
    batch_size: int = 512,
    device: str = "auto",
    progress: Progress = quiet,
) -> NDArray[np.float32]:
    """The input of the layer that makes the logits, for each picture: float32 [N, F].

    pixels: uint8 [N, H, W, C] of the card's size, memory-mapped or not. The model is in evaluation mode and on the CPU
    afterwards.

    Raises ValueError when the logits do not come from a Linear layer.
    """
    where = select_device(device)
    model = model.to(where).eval()
    rows: list[NDArray[np.float32]] = []
    seen: list[Tensor] = []

    def remember(_module: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(args[0].detach())

    with torch.inference_mode():
        example = normalise(to_tensor(pixels[:1]).to(where), card)
        handle = _head(model, example).register_forward_pre_hook(remember)
        try:
            for start in range(0, len(pixels), batch_size):
                model(normalise(to_tensor(pixels[start : start + batch_size]).to(where), card))
                rows.append(seen.pop().float().cpu().numpy())
                progress("computing features", min(1.0, (start + batch_size) / len(pixels)))
        finally:
            handle.remove()
            model.to("cpu")
    return np.concatenate(rows)


def _head(model: nn.Module, example: Tensor) -> nn.Linear:
    """The Linear layer whose output is the model's output."""
    outputs: list[tuple[nn.Linear, Tensor]] = []

    def note(module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        outputs.append((module, output))

    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Linear)]
    try:
        logits: Tensor = model(example)
    finally:
        for handle in handles:
            handle.remove()
    for module, output in reversed(outputs):
        if output.dim() == 2 and torch.equal(output, logits):
            return module
    raise ValueError(
        "the model's logits do not come from a Linear layer, so it has no penultimate features; "
        "leave out the detectors that need them (activation-clustering, spectral-signatures)"
    )
