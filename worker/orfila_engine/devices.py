"""Which device computes."""

from __future__ import annotations

import contextlib

import torch


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


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 autocast on CUDA devices that have it, nothing elsewhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
