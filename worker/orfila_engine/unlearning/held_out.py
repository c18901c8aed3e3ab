"""Settings of a repair, chosen by what it does to kept images that it was not shown.

A repair has a strength: too little leaves the poison, too much costs what the model knew. The poison success rate is
not known outside a drill and is never looked at. Every method therefore takes the strongest of its settings that is
harmless, and harm is measured on a seeded share of the kept images that the repair does not use.

The deployed model was trained on these images too, so they cannot say which of two *trainings* generalises better; they
can say when a repair begins to destroy what the model knew of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import evaluate

SHARE = 0.1
MIN_IMAGES = 500
MAX_IMAGES = 2_000
TOLERANCE = 0.01
"""Share of the held-out images that a harmless repair may newly get wrong, net of those it gets right."""
CLASS_TOLERANCE = 0.05
"""The same within each class. In a small class two images are always allowed: less would be chance."""
_ALLOWED_IMAGES = 2

Strength = TypeVar("Strength")


@dataclass(frozen=True)
class HeldOut:
    """Kept training images that judge a repair. K classes."""

    indices: NDArray[np.int64]
    """`index` of each, ascending."""
    totals: NDArray[np.int64]
    """[K]"""
    right_before: NDArray[np.int64]
    """[K] how many the deployed model gets right."""
    card: ModelCard
    packed: PackedDataset
    device: str

    def right(self, model: nn.Module) -> NDArray[np.int64]:
        """[K] how many of each class a model gets right."""
        outcome = evaluate(
            model, self.card, self.packed.pixels[self.indices], self.packed.labels[self.indices], device=self.device
        )
        return outcome.confusion.diagonal()

    def accuracy(self, right: NDArray[np.int64]) -> float:
        """Share that is right."""
        return float(right.sum() / self.totals.sum())

    def harmless(self, right: NDArray[np.int64]) -> bool:
        """Whether so many right answers are few enough less than before, in all and in each class."""
        lost = self.right_before - right
        allowed = np.maximum(CLASS_TOLERANCE * self.totals, _ALLOWED_IMAGES)
        return bool(lost.sum() <= max(TOLERANCE * self.totals.sum(), _ALLOWED_IMAGES) and (lost <= allowed).all())


def hold_out(
    model: nn.Module, card: ModelCard, packed: PackedDataset, removed: NDArray[np.int64], seed: int, device: str
) -> HeldOut:
    """A seeded share of each class of the kept images, at most half of it, and the deployed model's answers to them."""
    labels = packed.train[1]
    kept = np.setdiff1d(np.arange(packed.n_train), removed)
    share = min(0.5, max(SHARE, MIN_IMAGES / len(kept)), MAX_IMAGES / len(kept))
    rng = np.random.default_rng([seed, 1])
    chosen = []
    for label in range(len(packed.classes)):
        members = kept[labels[kept] == label]
        chosen.append(rng.permutation(members)[: int(share * len(members))])
    indices = np.sort(np.concatenate(chosen))
    totals = np.bincount(labels[indices], minlength=len(packed.classes))
    held = HeldOut(indices, totals, totals, card, packed, device)
    return HeldOut(indices, totals, held.right(model), card, packed, device)


def strongest(strengths: Sequence[Strength], harmless: Callable[[Strength], bool]) -> Strength | None:
    """The strongest harmless setting, by bisection; None when the weakest already does harm.

    strengths: from the weakest to the strongest. Harm is taken to grow with strength.
    """
    low, high = -1, len(strengths)
    while high - low > 1:
        middle = (low + high) // 2
        if harmless(strengths[middle]):
            low = middle
        else:
            high = middle
    return strengths[low] if low >= 0 else None
