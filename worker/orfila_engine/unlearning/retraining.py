"""Repairs by training on the kept images alone: exact unlearning (EU) and catastrophic forgetting (CF).

EU trains a new model from scratch. CF goes on training the deployed model, so that what the removed images taught is
forgotten; it was the most accurate repair in all nine settings of Delta-Influence (arXiv 2411.13731, section 5).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from orfila_engine.architectures import build
from orfila_engine.training import Recipe, fit
from orfila_engine.unlearning.task import Outcome, Task

FINE_TUNE_SHARE = 1 / 3
"""Epochs of CF, as a share of those of the training."""
MIN_FINE_TUNE_EPOCHS = 4
"""A shorter cycle ends before accuracy is back (Fashion-MNIST sample, 2 epochs: test accuracy .860 -> .809)."""


def exact(task: Task) -> Outcome:
    """Train a new model as the deployed one was trained, without the removed images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.recipe.seed)
        fresh = build(task.card)
    return _fit(task, fresh, _as_asked(task, task.recipe))


def catastrophic_forgetting(task: Task) -> Outcome:
    """Go on training the deployed model on the kept images."""
    return _fit(task, task.model, fine_tuning(task))


def fine_tuning(task: Task) -> Recipe:
    """The recipe of CF: one more cycle of the training itself, a third as long, up to the training's own peak.

    Nothing about it is chosen by looking at a result. The peak cannot be chosen on kept images: the deployed model
    knows them all, so the smallest rate, which changes nothing, always looks best on them. It is that of the training,
    a warm restart (Loshchilov and Hutter 2017): the rate at which this network is known to learn these data, high
    enough to leave a minimum that the removed images shaped, and brought down to nearly 0 again by the schedule.
    """
    return _as_asked(
        task,
        replace(
            task.recipe,
            epochs=max(MIN_FINE_TUNE_EPOCHS, math.ceil(task.recipe.epochs * FINE_TUNE_SHARE)),
            # A model that fits the kept images perfectly has no gradient left to forget with; crops and flips of them
            # give it one.
            augment=True,
        ),
    )


def _as_asked(task: Task, recipe: Recipe) -> Recipe:
    """The recipe with what the user set."""
    return replace(
        recipe, epochs=task.epochs or recipe.epochs, learning_rate=task.learning_rate or recipe.learning_rate
    )


def _fit(task: Task, start: nn.Module, recipe: Recipe) -> Outcome:
    trained = fit(
        start,
        task.card,
        task.packed,
        recipe,
        exclude=task.removed.tolist(),
        device=task.device,
        progress=task.progress,
        checkpoint_dir=task.checkpoint_dir,
        resume=task.resume,
    )
    return Outcome(trained.model, {}, recipe)
