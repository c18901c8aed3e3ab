"""What removing a set of training images is expected to do to each affected image, before anything is repaired.

To first order this is group influence (Koh 2019, arXiv 1905.13289): without the set S the weights move by
(1/n) H^-1 sum_S g_i, and with them the measurement m of an affected image by (1/n) sum_S h . H^-1 . g_i; the margin is
-m. It adds up over images, and errs where it matters: half of a poison still does all of its work, and the clean images
of a label hold it in place too. `linearised` lets the other images answer: those with the label that the affected image
receives, or with one of the removed, are trained again in the linearisation of the network. Both need only inner
products of the projected gradients that the index holds.

How far a training moves along a direction that nothing curves is its length tau = sum of its learning rates /
(1 - momentum), and with weight decay w no further than 1 / (w + 1 / tau) (unrolled gradient descent: SOURCE, Bae 2024,
arXiv 2405.12186). At the end of a training its curvature is nearly 0, so this is the damping that counts: w + 1 / tau.
The gradients of the first epochs, which are not at hand, were larger than the last ones; LENGTHENING makes up for them.

Whether a label flips is predicted better than by how much: the features are those of the poisoned network. `verify`
puts the prediction beside what the repaired model does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import evaluate, margins, to_tensor
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, Symptom
from orfila_engine.training import Recipe, training_length
from orfila_engine.unlearning.linearised import retrained, sigmoid

LENGTHENING = 3.0
"""Times that a training counts as longer than it was: one number for all models, the best of 1, 3, 10 and 30 against
three networks for digits that were retrained without all, 90 % and half of a poison, and without as many clean images
(mean margins predicted and found: -8.7 and -8.9, 2.7 and 3.2, 6.0 and 6.1, 6.6 and 6.8 on the first of them)."""
MAX_REMOVED = 128
"""Removed images that stand for all of them, an even sample."""
MAX_PULLING = 128
"""Kept images that count for themselves: those of the labels involved that pull most at the affected images. What is
left of a poison when a part is removed is among them."""
MAX_KEPT = 96
"""Other kept images of the labels involved that stand for all of them, a seeded sample."""
CURVE = (0.5, 0.75, 0.9, 1.0, 1.25)
"""Lengths of a ranking's beginnings that `curve` answers for, as shares of the flagged set."""

_MIN_CURVE = 20
"""Length of the ranking that a curve covers where nothing is flagged."""
_MIN_SLOPE = 1e-9


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
    """A affected images, ready to be told what the removal of any set would do to them."""

    def __init__(
        self,
        index: FingerprintIndex,
        packed: PackedDataset,
        model: nn.Module,
        card: ModelCard,
        affected: Sequence[Affected],
        recipe: Recipe,
        *,
        symptom: Symptom | None = None,
    ) -> None:
        """recipe: how the model was trained. symptom: of these images, where an investigation has asked already.

        Raises ValueError without images, or for an index of another model.
        """
        if not affected:
            raise ValueError("give at least one affected image; a preview says what becomes of them")
        self._index, self._packed = index, packed
        self._names = [a.name for a in affected]
        pixels = np.stack([a.pixels for a in affected])
        if symptom is None:
            outcome = evaluate(model, card, pixels, np.full(len(pixels), -1), device=index.device)
            own = index.query(model, card, to_tensor(pixels), torch.from_numpy(outcome.predicted))
            symptom = Symptom(outcome, own)
        self.labels = symptom.predictions.predicted
        """[A]"""
        self.margins = margins(symptom.predictions.logits, self.labels).astype(np.float64)
        """[A]"""
        self.questions = index.whitening.unwhiten(torch.from_numpy(symptom.fingerprints)).numpy()
        """[A, D] projected gradients of the affected images' measurements."""
        length = LENGTHENING * training_length(recipe, index.n)
        self._c = index.n * (recipe.weight_decay + 1 / length)
        self._products: NDArray[np.float32] | None = None

    def of(self, removed: Collection[int]) -> tuple[Predicted, ...]:
        """What removing a set (by `index`) is expected to do.

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
        after = self._after([indices])[0]
        return tuple(
            Predicted(i, name, int(self.labels[i]), float(self.margins[i]), float(after[i]))
            for i, name in enumerate(self._names)
        )

    def effects(self) -> NDArray[np.float32]:
        """First-order change of each margin when one training image is removed, [A, n]; those of a set add up."""
        return self._effects

    def take(self, products: NDArray[np.float32]) -> None:
        """Use products [n, A] of the index with `questions` that somebody has found already."""
        self._products = products

    @cached_property
    def _effects(self) -> NDArray[np.float32]:
        products = self._index.products(self.questions) if self._products is None else self._products
        return np.ascontiguousarray(-products.T / np.float32(self._c))

    def curve(self, ranked: NDArray[np.int64], n_flagged: int) -> NDArray[np.float32]:
        """Predicted margins along a ranking, to read other sets from without this model: [A, 2, 1 + len(CURVE)].

        For each affected image the summed first-order change of a beginning of the ranking, falling from 0, and the
        predicted margin without that beginning. ranked: training images, the most suspicious first.
        """
        sizes = [min(len(ranked), max(1, round(share * n_flagged))) for share in CURVE]
        effects = self.effects()
        sums = np.stack([effects[:, ranked[:size]].sum(1, dtype=np.float64) for size in sizes], axis=1)
        after = np.stack(self._after([np.sort(ranked[:size]) for size in sizes]), axis=1)
        start = np.zeros((len(self.labels), 1))
        falling = np.minimum.accumulate(np.concatenate([start, sums], axis=1), axis=1)
        expected = np.minimum.accumulate(np.concatenate([self.margins[:, None], after], axis=1), axis=1)
        return np.stack([falling, expected], axis=1).astype(np.float32)

    def write(self, folder: Path) -> None:
        """Keep the answers beside an investigation's scores: removal.npy (`effects`), removal_curve.npy (`curve`)."""
        columns = ["suspect", "flagged", "posterior", "collapse_score"]
        table = pq.read_table(folder / "scores.parquet", columns=columns)
        suspect, flagged, posterior, score = (table[name].to_numpy() for name in columns)
        ranked = np.lexsort((-score, -posterior))
        ranked = ranked[suspect[ranked]]
        np.save(folder / "removal.npy", self.effects())
        np.save(folder / "removal_curve.npy", self.curve(ranked, max(int(flagged.sum()), _MIN_CURVE)))

    def _after(self, sets: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
        """Predicted margins [A] without each of several sets, the last of which holds all others."""
        labels = self._packed.train[1]
        involved = np.union1d(self.labels, labels[sets[-1]])
        others = np.setdiff1d(np.flatnonzero(np.isin(labels, involved)), sets[-1])
        stand_ins = sets[-1][:: -(-len(sets[-1]) // MAX_REMOVED)]
        order = np.argsort(self._effects[:, others].mean(0), kind="stable")
        pulling, rest = others[order[:MAX_PULLING]], others[order[MAX_PULLING:]]
        kept = np.random.default_rng(0).permutation(rest)[:MAX_KEPT]
        rows = np.concatenate([stand_ins, pulling, kept])
        measured = self._index.measurements[rows].astype(np.float64)
        gradients = self._projected(rows) / np.maximum(sigmoid(measured), _MIN_SLOPE)[:, None].astype(np.float32)
        kernel = (gradients @ gradients.T).astype(np.float64)
        cross = (self.questions @ gradients.T).astype(np.float64)
        weights = np.concatenate(
            [
                np.full(len(stand_ins), len(sets[-1]) / len(stand_ins)),
                np.ones(len(pulling)),
                np.full(len(kept), len(rest) / max(1, len(kept))),
            ]
        )
        # No model answers with margins far beyond those that it has learned; the linearisation knows no such limit.
        limit = max(float(np.abs(measured).max()), float(np.abs(self.margins).max()))
        return [
            np.clip(
                self.margins - retrained(kernel, cross, measured, weights, np.isin(rows, removed), self._c),
                -limit,
                limit,
            )
            for removed in sets
        ]

    def _projected(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Projected gradients vec(G_i) [m, D]."""
        return self._index.rows[rows].astype(np.float32) * self._index.scales[rows, None]
