"""What every repair is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.devices import select_device
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import Progress
from orfila_engine.training import Recipe

Setting = str | int | float
Curvature = Literal["index", "ekfac"]
"""Whose inverse Fisher a Newton step takes."""


@dataclass(frozen=True)
class Task:
    """A model to repair without some training images."""

    model: nn.Module
    """A copy of the deployed model, in evaluation mode; the method may change it."""
    card: ModelCard
    packed: PackedDataset
    removed: NDArray[np.int64]
    """`index` of the training images to unlearn, ascending."""
    recipe: Recipe
    """How the model was trained, with this repair's seed."""
    epochs: int | None
    """Asked for by the user; None leaves it to the method."""
    learning_rate: float | None
    device: str
    progress: Progress
    checkpoint_dir: Path | None
    resume: bool
    index: FingerprintIndex | None
    """The index of the deployed model, where there is one."""
    curvature: Curvature

    @property
    def kept(self) -> NDArray[np.int64]:
        """`index` of the other training images, ascending."""
        return np.setdiff1d(np.arange(self.packed.n_train), self.removed)

    @property
    def where(self) -> torch.device:
        """The device to compute on."""
        return select_device(self.device)


@dataclass(frozen=True)
class Outcome:
    """A repaired model, in evaluation mode on the CPU, and how it came to be."""

    model: nn.Module
    settings: dict[str, Setting] = field(default_factory=dict)
    """What the method chose, and what the choice was measured by, in the order worth reading."""
    trained: Recipe | None = None
    """The recipe of the training that was done; None for a method that trains nothing."""


Repair = Callable[[Task], Outcome]
