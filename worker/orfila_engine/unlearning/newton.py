"""The influence family: one Newton step against the removed images (`influence`), or only in the units that carry them
(`selective`).

theta' = theta + s (1/n) F^-1 sum_S g_i. For a model at the minimum of a quadratic loss, s = 1 is retraining without S
to first order. A network is neither: its loss on the removed images is nearly flat where it fits them, so the step that
takes them out again is not the one that the curvature there suggests. s is therefore the largest that is harmless on
kept held-out images. With the index's F the step also leaves alone what the removed images share with the kept ones of
their label: that is theirs.

`selective` changes only the units (output channels, or features) that carry the removed images. The Newton decrement
g . F^-1 g, with g the removed images' mean gradient, is a sum over units; those that make up most of it are kept, the
others stay as they were (SIMU, arXiv 2510.07822: critical neurons by gradient attribution, then a second-order update
of those; IFRU, arXiv 2307.02147: importance-based pruning of the influence step). Near duplicates of the removed images
among the kept ones count as removed (see `spillover`).
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.ekfac import EkfacSpec, fit_factors
from orfila_engine.evaluation import evaluate, margins
from orfila_engine.fingerprint import FingerprintIndex, build_index, model_digest
from orfila_engine.progress import part
from orfila_engine.unlearning.gradient_sums import Gradients, length, mean_gradient
from orfila_engine.unlearning.held_out import HeldOut, hold_out, strongest
from orfila_engine.unlearning.index_step import index_step, summed_fingerprints, without_shared
from orfila_engine.unlearning.spillover import near_duplicates
from orfila_engine.unlearning.task import Outcome, Setting, Task

LENGTHS = tuple(float(s) for s in np.geomspace(1e-3, 1.0, 32))
"""Lengths of the step to try, as shares of the length of the parameters that it moves."""
SHARES = (0.5, 0.8, 0.95)
"""Shares of the Newton decrement that the units of `selective` carry together, to choose from."""
MAX_GRADIENTS = 2_000
"""Removed images that say which units carry them and how well they are forgotten, an even sample."""
EKFAC_DAMPINGS = (0.003, 0.01, 0.03, 0.1)
"""Shares of the mean eigenvalue of each layer, to choose from."""


def influence(task: Task) -> Outcome:
    """Repair by one Newton step in all indexed layers; with EK-FAC, at the damping that forgets most."""
    held = hold_out(task.model, task.card, task.packed, task.removed, task.recipe.seed, task.device)
    tried = [
        (_line_search(task, held, direction), {"curvature": task.curvature} | about)
        for direction, about in _directions(task, task.removed)
    ]
    return _most_forgetful(task, tried, _sample(task.removed), held)


def selective(task: Task) -> Outcome:
    """Repair by one Newton step in the units that carry the removed images and their near duplicates."""
    index = _index(task)
    task = replace(task, index=index)
    near = near_duplicates(index, task.packed.train[1], task.removed)
    removed = np.union1d(task.removed, near)
    held = hold_out(task.model, task.card, task.packed, removed, task.recipe.seed, task.device)
    sample = _sample(removed)
    gradient = _gradient(task, sample)
    tried: list[tuple[_Step, dict[str, Setting]]] = []
    for direction, about in _directions(task, removed):
        carried = decrement_by_unit(gradient, direction)
        for share in SHARES:
            masks = carrying_units(carried, share)
            restricted = {name: _rows(masks[_layer(name)], d) for name, d in direction.items()}
            said: dict[str, Setting] = {
                "curvature": task.curvature,
                "near_duplicates": len(near),
                "share_of_decrement": share,
                "units": sum(int(mask.sum()) for mask in masks.values()),
            }
            tried.append((_line_search(task, held, restricted), said | about))
    return _most_forgetful(task, tried, sample, held)


def decrement_by_unit(gradient: Gradients, direction: Gradients) -> dict[str, Tensor]:
    """g . delta of each unit (a row of the weight, and its bias), [out] by layer; they add up to g . F^-1 g / n."""
    by_unit: dict[str, Tensor] = {}
    for name, delta in direction.items():
        part_ = (gradient[name] * delta).flatten(1).sum(1) if delta.dim() > 1 else gradient[name] * delta
        layer = _layer(name)
        by_unit[layer] = by_unit[layer] + part_ if layer in by_unit else part_
    return by_unit


def carrying_units(decrement: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The fewest units that make up a share of the decrement: a mask [out] by layer."""
    values = torch.cat([d.clamp_min(0) for d in decrement.values()])
    ordered = values.sort(descending=True).values
    needed = int((ordered.cumsum(0) < share * ordered.sum()).sum())
    bound = ordered[min(needed, len(ordered) - 1)]
    return {name: (d >= bound) & (d > 0) for name, d in decrement.items()}


@dataclass(frozen=True)
class _Step:
    """A repaired model, and the length of the step that led to it."""

    model: nn.Module
    relative_length: float
    multiple: float
    """s: times the Newton step."""

    def settings(self, held: HeldOut) -> dict[str, Setting]:
        return {
            "relative_length": self.relative_length,
            "multiple_of_newton_step": self.multiple,
            "held_out_before": held.accuracy(held.right_before),
            "held_out_after": held.accuracy(held.right(self.model)),
        }


def _directions(task: Task, removed: NDArray[np.int64]) -> list[tuple[Gradients, dict[str, Setting]]]:
    """Newton steps (1/n) F^-1 sum_S g_i, at each damping that is worth trying, and what distinguishes them."""
    if task.curvature == "index":
        index = _index(task)
        labels = task.packed.train[1]
        alike = np.setdiff1d(np.flatnonzero(np.isin(labels, np.unique(labels[removed]))), removed)
        summed = without_shared(summed_fingerprints(index, removed), summed_fingerprints(index, alike))
        return [(index_step(index, task.model, summed), {})]
    spec = EkfacSpec(seed=task.recipe.seed)
    factors = fit_factors(
        task.model, task.card, task.packed.train[0], spec, device=task.device, progress=part(task.progress, 0, 0.5)
    )
    gradient = {name: g * (len(removed) / task.packed.n_train) for name, g in _gradient(task, removed).items()}
    covered = {name for layer in factors.hooked.layers for name in (layer.weight, layer.bias) if name is not None}
    steps: list[tuple[Gradients, dict[str, Setting]]] = []
    for damping in EKFAC_DAMPINGS:
        solved = factors.inverse_product(gradient, damping)
        steps.append(({name: solved[name].to("cpu") for name in covered}, {"damping": damping}))
    return steps


def _most_forgetful(
    task: Task, tried: Sequence[tuple[_Step, dict[str, Setting]]], removed: NDArray[np.int64], held: HeldOut
) -> Outcome:
    """Of several harmless steps the one after which the removed images' own labels have the least margin."""
    step, about = tried[0]
    if len(tried) > 1:
        left = [_mean_margin(task, candidate.model, removed) for candidate, _ in tried]
        step, about = tried[int(np.argmin(left))]
    return Outcome(step.model, about | step.settings(held))


def _gradient(task: Task, indices: NDArray[np.int64]) -> Gradients:
    """Mean loss gradient of some training images, on the CPU."""
    gradient = mean_gradient(task.model.to(task.where), task.card, task.packed, indices)
    task.model.to("cpu")
    return {name: g.to("cpu") for name, g in gradient.items()}


def _line_search(task: Task, held: HeldOut, direction: Gradients) -> _Step:
    """The longest step along a direction that is harmless on the held-out images."""
    parameters = dict(task.model.named_parameters())
    # Both lengths, so that a step is a share of what it moves.
    unit = length({name: parameters[name].detach() for name in direction}) / max(length(direction), 1e-30)

    def moved(relative: float) -> nn.Module:
        model = copy.deepcopy(task.model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in direction:
                    parameter.add_(direction[name], alpha=relative * unit)
        return model

    def harmless(relative: float) -> bool:
        task.progress("choosing the step", 0.5)
        return held.harmless(held.right(moved(relative)))

    found = strongest(LENGTHS, harmless)
    relative = LENGTHS[0] if found is None else found
    return _Step(moved(relative).eval(), relative, relative * unit)


def _index(task: Task) -> FingerprintIndex:
    """The index that was given, or one made now, which costs about an epoch."""
    if task.index is not None:
        if task.index.meta["model"] != model_digest(task.model, task.card):
            raise ValueError("the index was built from another model; give the one of the model to repair, or none")
        return task.index
    with tempfile.TemporaryDirectory() as folder:
        return build_index(
            task.model,
            task.card,
            *task.packed.train,
            Path(folder) / "index",
            device=task.device,
            progress=part(task.progress, 0, 0.5),
        )


def _mean_margin(task: Task, model: nn.Module, indices: NDArray[np.int64]) -> float:
    labels = task.packed.labels[indices]
    outcome = evaluate(model, task.card, task.packed.pixels[indices], labels, device=task.device)
    return float(margins(outcome.logits, labels).mean())


def _sample(removed: NDArray[np.int64]) -> NDArray[np.int64]:
    return removed[:: -(-len(removed) // MAX_GRADIENTS)]


def _rows(mask: Tensor, values: Tensor) -> Tensor:
    """The rows of a mask, zero elsewhere."""
    return values * mask.view(-1, *(1,) * (values.dim() - 1))


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0]
