"""What removing a set of training images is expected to do to each affected image, before anything is repaired.

Group influence (Koh 2019, arXiv 1905.13289): without the set S the weights move by (1/n) H^-1 sum_S g_i to first order,
and with them the measurement m of an affected image by (1/n) sum_S h . H^-1 . g_i; the margin is -m. With the projected
gradients of the index this is an inner product with the sum of the removed images' fingerprints.

H is the curvature of what the training really minimised and how far it got. The Fisher F alone is nearly 0 for a
network that fits its data, and would predict changes hundreds of times too large; but a training of length tau = sum of
its learning rates / (1 - momentum), with weight decay w, moves along a direction of curvature c no further than
(1 - exp(-tau (c + w))) / (c + w) allows (unrolled gradient descent: SOURCE, Bae 2024, arXiv 2405.12186, with one
segment). 1 / (c + w + 1 / tau) is that within a few per cent, so H = F + (w + 1 / tau) I: nothing is fitted.

To first order the size is right within a factor of about two; `verify` puts it beside what the repaired model does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.evaluation import evaluate, margins, to_tensor
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected
from orfila_engine.training import Recipe, training_length
from orfila_engine.unlearning.index_step import summed_fingerprints


@dataclass(frozen=True)
class Predicted:
    """The expected effect of a removal on one affected image."""

    number: int
    name: str
    label: int
    """What the model says of it now."""
    margin: float
    """Of that label now, see `evaluation.margins`."""
    predicted_margin: float
    """Of the same label without the set."""

    @property
    def expected_to_flip(self) -> bool:
        """Whether the label would lose its majority: the predicted margin is negative."""
        return self.predicted_margin < 0


class RemovalPreview:
    """Affected images, ready to be told what the removal of any set would do to them."""

    def __init__(
        self, index: FingerprintIndex, model: nn.Module, card: ModelCard, affected: Sequence[Affected], recipe: Recipe
    ) -> None:
        """recipe: how the model was trained. Raises ValueError without images, or for an index of another model."""
        if not affected:
            raise ValueError("give at least one affected image; a preview says what becomes of them")
        pixels = np.stack([a.pixels for a in affected])
        outcome = evaluate(model, card, pixels, np.full(len(pixels), -1), device=index.device)
        self._index, self._names = index, [a.name for a in affected]
        self.labels = outcome.predicted
        """[A]"""
        self.margins = margins(outcome.logits, self.labels)
        """[A]"""
        queries = index.query(model, card, to_tensor(pixels), torch.from_numpy(self.labels))
        length = training_length(recipe, index.n)
        self._responses = with_damping(index, queries, recipe.weight_decay + 1 / length)

    def effects(self) -> NDArray[np.float32]:
        """Change of each margin when one training image is removed, [A, n]; those of a set add up."""
        return np.ascontiguousarray(-self._index.influence(self._responses).T / self._index.n)

    def of(self, removed: Collection[int]) -> tuple[Predicted, ...]:
        """What removing a set (by `index`) is expected to do. Reads only the removed images' rows.

        Raises ValueError for an empty set, or images that the index does not hold.
        """
        indices = np.array(sorted({int(i) for i in removed}), dtype=np.int64)
        if len(indices) == 0:
            raise ValueError("the set to remove is empty; flag or confirm at least one training image")
        if not 0 <= indices[0] <= indices[-1] < self._index.n:
            raise ValueError(
                f"the index holds training images 0..{self._index.n - 1}; the set to remove holds {indices[0]} to "
                f"{indices[-1]}"
            )
        after = self.margins - self._responses @ summed_fingerprints(self._index, indices) / self._index.n
        return tuple(
            Predicted(i, name, int(self.labels[i]), float(self.margins[i]), float(after[i]))
            for i, name in enumerate(self._names)
        )


def with_damping(index: FingerprintIndex, queries: NDArray[np.float32], damping: float) -> NDArray[np.float32]:
    """Vectors [Q, D] whose inner product with phi(g_i) is h . (K + damping)^-1 . g_i, from fingerprints phi(h) [Q, D].

    K is the projected Fisher of a layer without damping; the index holds L L^T = K + d. With e = damping - d and
    phi = L^-1 vec(G): vec(H)^T (L L^T + e)^-1 vec(G) = phi(h)^T (1 + e L^-1 L^-T)^-1 phi(g).
    """
    answers = np.empty_like(queries)
    for info, stored in zip(index.layers, index.whitening.inverses(), strict=True):
        inverse = stored.double()
        # The mean diagonal of L L^T is (1 + share) times that of K, and d is share times the latter.
        level = float(torch.linalg.inv(inverse).square().sum()) / info.size
        own = index.spec.damping / (1 + index.spec.damping) * level
        system = torch.eye(info.size, dtype=torch.float64) + (damping - own) * (inverse @ inverse.T)
        rows = torch.from_numpy(queries[:, info.columns]).double()
        answers[:, info.columns] = torch.linalg.solve(system, rows.T).T.numpy()
    return answers
