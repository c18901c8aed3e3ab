"""Which device computes."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

Precision = Literal["auto", "full", "bfloat16"]
"""Of a training's products: "auto" is bfloat16 on CUDA devices that have it, and float32 elsewhere."""


def select_device(name: str = "auto") -> torch.device:
    """The torch device of a name; "auto" is the first CUDA device where there is one, else the CPU.

    Raises ValueError when CUDA is asked for and absent, or the name is none of torch's.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"'{name}' is no device; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is usable here; use auto or cpu")
    return device


def mixed_precision(device: torch.device, precision: Precision = "auto") -> contextlib.AbstractContextManager[object]:
    """bfloat16 autocast where the precision asks for it; weights and losses stay float32.

    On processors with bfloat16 products a training is 1.7 times faster with it (AMD EPYC, ResNet-20), on others slower,
    so that it must be asked for there.
    """
    if precision == "bfloat16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
