"""The repairs behind one interface: exact unlearning (EU) and catastrophic forgetting (CF).

EU trains a new model from scratch without the set. CF goes on training the deployed model on the kept images alone, so
that what the removed ones taught is forgotten; it was the most accurate repair in all nine settings of Delta-Influence
(arXiv 2411.13731, section 5).
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from orfila_engine.architectures import ModelCard, build
from orfila_engine.data import PackedDataset
from orfila_engine.progress import Progress, quiet
from orfila_engine.training import Recipe, TrainedModel, fit

Method = Literal["eu", "cf"]
FINE_TUNE_SHARE = 1 / 3
"""Epochs of CF, as a share of those of the training; the learning rate rises to the same peak.

BadNet 2 %, 10,000 CIFAR-10 images, ResNet-20, 5 epochs: poison success rate .985 -> .010 at the peak of the training,
.050 at half of it; test accuracy .685 -> .742 with both.
"""
MIN_FINE_TUNE_EPOCHS = 4
"""A shorter cycle ends before accuracy is back (Fashion-MNIST sample, 2 epochs: test accuracy .860 -> .809)."""


@dataclass(frozen=True)
class Repaired:
    """A repaired model and what it took."""

    method: Method
    trained: TrainedModel
    n_removed: int
    seconds: float

    @property
    def model(self) -> nn.Module:
        """The repaired model, in evaluation mode on the CPU."""
        return self.trained.model


def unlearn(
    method: Method,
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    removed: Collection[int],
    *,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = quiet,
    checkpoint_dir: Path | None = None,
    resume: bool = True,
) -> Repaired:
    """Repair a model without the training images `removed` (by `index`). The given model is not changed.

    recipe: how the model was trained (see `recipe_of`); None takes the defaults of `Recipe`.
    epochs, learning_rate: override what the method derives from the recipe (EU: the same; CF: a third of the epochs).

    Raises ValueError for an unknown method, an empty set, or a set that leaves a class without images.
    """
    if method not in METHODS:
        raise ValueError(f"unknown unlearning method '{method}'; use one of {', '.join(METHODS)}")
    if not removed:
        raise ValueError("the set to remove is empty; flag or confirm at least one training image")
    start, derived = METHODS[method](model, card, replace(recipe or Recipe(), seed=seed))
    if epochs is not None:
        derived = replace(derived, epochs=epochs)
    if learning_rate is not None:
        derived = replace(derived, learning_rate=learning_rate)
    began = time.perf_counter()
    trained = fit(
        start,
        card,
        packed,
        derived,
        exclude=removed,
        device=device,
        progress=progress,
        checkpoint_dir=checkpoint_dir,
        resume=resume,
    )
    return Repaired(method, trained, len(set(removed)), time.perf_counter() - began)


def recipe_of(metadata: Mapping[str, str]) -> Recipe | None:
    """How a model was trained, from the `training` entry of its file's metadata; None when it does not say."""
    try:
        stored = json.loads(metadata["training"])["recipe"]
        return Recipe(**{f.name: stored[f.name] for f in fields(Recipe)})
    except (KeyError, TypeError, ValueError):
        return None


def _from_scratch(model: nn.Module, card: ModelCard, recipe: Recipe) -> tuple[nn.Module, Recipe]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build(card), recipe


def _fine_tune(model: nn.Module, card: ModelCard, recipe: Recipe) -> tuple[nn.Module, Recipe]:
    return copy.deepcopy(model), replace(
        recipe,
        epochs=max(MIN_FINE_TUNE_EPOCHS, math.ceil(recipe.epochs * FINE_TUNE_SHARE)),
        # A model that fits the kept images perfectly has no gradient left to forget with; crops and flips give it one
        # (digits, BadNet 2.5 %: poison success rate 1.00 without, 0.00 with them).
        augment=True,
    )


METHODS: dict[Method, Callable[[nn.Module, ModelCard, Recipe], tuple[nn.Module, Recipe]]] = {
    "eu": _from_scratch,
    "cf": _fine_tune,
}
"""Method -> the model to start from and the recipe to follow."""
