"""An early look at a case: what those training images say whose gradients are projected already.

An index is useful before it is whole: the inverse Fisher of some thousand images is close to that of all, and each
image's influence on the affected ones does not depend on the images to come otherwise. The shifts and the order of the
suspects are therefore those of the method on fewer images. Counterparts and evidence come with the whole index; until
then nobody is called flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import collapse, query_direction
from orfila_engine.data import PackedDataset
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, one_symptom, predict_affected
from orfila_engine.progress import Progress, quiet
from orfila_engine.questions import Suspects, ask_each, suspects_of

N_BINS = 80
N_LEADING = 10
_TAIL = 0.0005
"""Of the images at either end that share the outermost bin."""


@dataclass(frozen=True)
class EarlyLook:
    """A histogram of the mean influence shift, and the images that look most like poison so far."""

    n_images: int
    n_suspects: int
    edges: NDArray[np.float64]
    """[81] of the bins, equally wide."""
    suspects: NDArray[np.int64]
    """[80] suspects in each bin; what lies beyond the edges is in the outermost ones."""
    rest: NDArray[np.int64]
    """[80] other images in each bin."""
    leading: NDArray[np.int64]
    """`index` of the suspects that are the most probable poison so far, the most probable first; at most 10."""
    scores: NDArray[np.float32]
    """Their collapse scores."""


def suspects_so_far(
    packed: PackedDataset, model: nn.Module, card: ModelCard, affected: Sequence[Affected], suspects: Suspects
) -> NDArray[np.int64]:
    """`index` of the images whose self-influence a look needs. Raises ValueError as an investigation does."""
    predicted = one_symptom(predict_affected(model, card, affected), affected, card)
    return suspects_of(packed.train[1], predicted, suspects)


def early_look(
    index: FingerprintIndex,
    images: NDArray[np.int64],
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    affected: Sequence[Affected],
    *,
    n_b: int,
    seed: int,
    suspects: Suspects,
    progress: Progress = quiet,
) -> EarlyLook:
    """Look at affected images through an index of some training images (see `reduce_shards` with whole=False).

    images: [m] `index` of the training image in each row; the suspects among them have a self-influence. The other
    arguments are those of the investigation that is to come, and so are the errors.
    """
    predicted = one_symptom(predict_affected(model, card, affected), affected, card)
    asked = ask_each(index, model, card, (a.pixels for a in affected), predicted, n_b=n_b, seed=seed)
    progress("looking at the images so far", 0.5)
    # The mean shift is one product for each image.
    mean = np.stack([a.fingerprints[1:].mean(0) - a.fingerprints[0] for a in asked]).mean(0)
    shift = index.influence(mean[None])[:, 0]
    rows = suspects_of(packed.train[1][images], predicted, suspects)
    found = collapse(index.suspects(rows), query_direction([a.fingerprints for a in asked]))
    order = np.lexsort((-found.score, -found.posterior))[:N_LEADING]
    is_suspect = np.isin(np.arange(len(images)), rows)
    edges = _edges(shift)
    inside = np.clip(shift, edges[0], edges[-1])
    return EarlyLook(
        n_images=len(images),
        n_suspects=len(rows),
        edges=edges,
        suspects=np.histogram(inside[is_suspect], edges)[0],
        rest=np.histogram(inside[~is_suspect], edges)[0],
        leading=images[rows[order]],
        scores=found.score[order],
    )


def _edges(values: NDArray[np.float32]) -> NDArray[np.float64]:
    low, high = (float(v) for v in np.quantile(values, (_TAIL, 1 - _TAIL)))
    return np.linspace(low, high, N_BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, N_BINS + 1)
