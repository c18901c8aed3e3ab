"""Selective Synaptic Dampening (SSD): shrink the parameters that matter more to the removed images than to the rest.

Foster, Schoepf, Brintrup (AAAI 2024), algorithm 1. With I the diagonal of the Fisher over all training images and I_f
over the removed ones, each parameter with I_f > alpha I is multiplied by min(lambda I / I_f, 1). Nothing is trained.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from orfila_engine.progress import part
from orfila_engine.unlearning.gradient_sums import Gradients, squared_gradient
from orfila_engine.unlearning.held_out import hold_out, strongest
from orfila_engine.unlearning.task import Outcome, Setting, Task

STRENGTHS = tuple(
    (alpha, 1.0) for alpha in (200.0, 100.0, 50.0, 30.0, 20.0, 10.0, 7.0, 5.0, 3.0, 2.0, 1.5, 1.0)
) + tuple((1.0, dampening) for dampening in (0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01))
"""(alpha, lambda) from the weakest to the strongest: ever more parameters, then ever less left of them. (10, 1) is
published for ResNet-18."""
BATCH_SIZE = 8
"""Images whose gradients are averaged before they are squared (the authors' code does so with whole batches)."""
MAX_IMAGES = 2_000
"""Training images that estimate I, a seeded sample."""


def ssd(task: Task) -> Outcome:
    """Repair by dampening, with the strongest setting that is harmless on kept held-out images."""
    held = hold_out(task.model, task.card, task.packed, task.removed, task.recipe.seed, task.device)
    model = task.model.to(task.where)
    rng = np.random.default_rng([task.recipe.seed, 2])
    sample = rng.permutation(task.packed.n_train)[:MAX_IMAGES]
    of_all = squared_gradient(
        model, task.card, task.packed, sample, batch_size=BATCH_SIZE, progress=part(task.progress, 0, 0.5)
    )
    of_removed = squared_gradient(
        model, task.card, task.packed, task.removed, batch_size=BATCH_SIZE, progress=part(task.progress, 0.5, 0.6)
    )

    def harmless(strength: tuple[float, float]) -> bool:
        task.progress("choosing the strength", 0.7)
        return held.harmless(held.right(dampened(model, of_all, of_removed, *strength)[0]))

    alpha, dampening = strongest(STRENGTHS, harmless) or STRENGTHS[0]
    repaired, share = dampened(model, of_all, of_removed, alpha, dampening)
    settings: dict[str, Setting] = {
        "alpha": alpha,
        "lambda": dampening,
        "share_dampened": round(share, 6),
        "held_out_before": held.accuracy(held.right_before),
        "held_out_after": held.accuracy(held.right(repaired)),
    }
    return Outcome(repaired.to("cpu").eval(), settings)


def dampened(
    model: nn.Module, of_all: Gradients, of_removed: Gradients, alpha: float, dampening: float
) -> tuple[nn.Module, float]:
    """A dampened copy of a model, and the share of the parameters that were changed (equations 3 and 4)."""
    repaired = copy.deepcopy(model)
    n_changed = n_all = 0
    with torch.no_grad():
        for name, parameter in repaired.named_parameters():
            whole, removed = of_all[name].to(parameter.device), of_removed[name].to(parameter.device)
            chosen = removed > alpha * whole
            factor = (dampening * whole / removed.clamp_min(1e-30)).clamp_max(1.0)
            parameter.mul_(torch.where(chosen, factor, torch.ones_like(factor)))
            n_changed += int(chosen.sum())
            n_all += parameter.numel()
    return repaired, n_changed / n_all
