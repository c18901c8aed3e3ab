"""Influence Approximation Unlearning (IAU): forgetting as learning in reverse, with gradients only.

Liu, Wu, Lian, Chen (2025, arXiv 2507.23257): to learn an image is a gradient step, so to unlearn one is approximately
the opposite step, and no Hessian is needed. With g the mean loss gradient, an increment is

    theta <- theta + eta sign(g(removed) - g(kept))

where the first term is the ascent and the second the *gradient correction*, which holds the kept images in place; the
sign is what the first step of Adam, the optimiser of the authors' code, makes of a gradient. The
paper's *gradient restriction* keeps gradients small while the model is trained, so that the step stays in the range
where it approximates the removal. A deployed model was trained already; here the ascent is restricted instead: no
increment's gradient of the removed images counts for more than the first one's, however fast their loss rises.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn

from orfila_engine.progress import Progress, part
from orfila_engine.unlearning.gradient_sums import Gradients, length, mean_gradient
from orfila_engine.unlearning.held_out import hold_out, strongest
from orfila_engine.unlearning.task import Outcome, Setting, Task

INCREMENTS = 5
IMAGES = 256
"""At most so many removed, and so many kept, images in an increment."""
STEPS = tuple(float(s) for s in np.geomspace(1e-4, 0.2, 16))
"""Lengths of all increments together to try, as shares of the length of all parameters."""


def iau(task: Task) -> Outcome:
    """Repair by ascent and correction, with the largest step that is harmless on kept held-out images."""
    held = hold_out(task.model, task.card, task.packed, task.removed, task.recipe.seed, task.device)
    start = task.model.to(task.where)
    pool = np.setdiff1d(task.kept, held.indices)
    tried: dict[float, nn.Module] = {}

    def harmless(step: float) -> bool:
        done = len(tried)
        reported = part(task.progress, min(done, 4) / 5, min(done + 1, 5) / 5)
        tried[step] = ascend(start, task, pool, step, reported)
        return held.harmless(held.right(tried[step]))

    found = strongest(STEPS, harmless)
    step = STEPS[0] if found is None else found
    model = tried[step]
    settings: dict[str, Setting] = {
        "step": step,
        "increments": INCREMENTS,
        "held_out_before": held.accuracy(held.right_before),
        "held_out_after": held.accuracy(held.right(model)),
    }
    return Outcome(model.to("cpu").eval(), settings)


def ascend(
    model: nn.Module, task: Task, pool: np.ndarray[tuple[int], np.dtype[np.int64]], step: float, progress: Progress
) -> nn.Module:
    """A copy of a model after INCREMENTS increments. pool: `index` of the kept images that may correct them."""
    moved = copy.deepcopy(model)
    parameters = dict(moved.named_parameters())
    size = length({name: p.detach() for name, p in parameters.items()})
    n_parameters = sum(p.numel() for p in parameters.values())
    rate = step * size / (math.sqrt(n_parameters) * INCREMENTS)
    rng = np.random.default_rng([task.recipe.seed, 4])
    limit = 0.0
    for number in range(INCREMENTS):
        away = _gradient(moved, task, rng.permutation(task.removed)[:IMAGES])
        back = _gradient(moved, task, rng.permutation(pool)[:IMAGES])
        norm = max(length(away), 1e-30)
        limit = limit or norm
        restriction = min(1.0, limit / norm)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.add_(torch.sign(restriction * away[name] - back[name]), alpha=rate)
        progress(f"increment {number + 1} of {INCREMENTS}", (number + 1) / INCREMENTS)
    return moved


def _gradient(model: nn.Module, task: Task, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Gradients:
    return mean_gradient(model, task.card, task.packed, indices)
