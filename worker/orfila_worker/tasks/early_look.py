"""Early look: at a case through the training images that are projected already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orfila.cases.schemas import EarlyLook, EarlySuspect
from orfila.jobs.contracts import EarlyLookResult, EarlyLookSpec
from orfila_engine.early import early_look, suspects_so_far
from orfila_engine.fingerprint import FingerprintIndex, reduce_shards
from orfila_engine.progress import part
from orfila_worker.tasks.affected import affected_images
from orfila_worker.tasks.engines import index_of

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def look_early(work: Work) -> EarlyLookResult:
    """Look through the parts of the index that are done; an index that is whole by now makes the look idle."""
    spec = EarlyLookSpec.model_validate(work.spec)
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    affected = affected_images(work, spec.affected, packed, card)
    suspects = suspects_so_far(packed, model, card, affected, spec.suspects)
    try:
        index, images = _index(work, spec, suspects)
    except FileNotFoundError:  # what a part is summed by is deleted with the parts
        return EarlyLookResult(look=None)
    found = early_look(
        index,
        images,
        packed,
        model,
        card,
        affected,
        n_b=spec.n_queries,
        seed=spec.seed,
        suspects=spec.suspects,
        progress=work.progress,
    )
    return EarlyLookResult(
        look=EarlyLook(
            n_images=found.n_images,
            n_train=packed.n_train,
            n_suspects=found.n_suspects,
            edges=found.edges.tolist(),
            suspects=found.suspects.tolist(),
            rest=found.rest.tolist(),
            leading=[
                EarlySuspect(index=image, collapse_score=score)
                for image, score in zip(found.leading.tolist(), found.scores.tolist(), strict=True)
            ],
        )
    )


def _index(work: Work, spec: EarlyLookSpec, suspects: NDArray[np.int64]) -> tuple[FingerprintIndex, NDArray[np.int64]]:
    """An index of the images that are done, and their `index`."""
    if not spec.parts:
        whole = index_of(work, spec.index_id)
        return whole, np.arange(whole.n)
    shards = [work.store.materialise(p.files, work.folder / f"shard-{n:05d}") for n, p in enumerate(spec.parts)]
    out_dir = work.folder / "index"
    progress = part(work.progress, 0.0, 0.5)
    images = reduce_shards(shards, out_dir, whole=False, measured=suspects, progress=progress)
    return FingerprintIndex.open(out_dir, work.device), images
