"""Compare: run detectors of the field on the affected images of a case."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from orfila.jobs.contracts import CompareResult, CompareSpec
from orfila_engine import comparison, detectors
from orfila_engine.detectors import DetectorInput
from orfila_worker.tasks.affected import affected_images
from orfila_worker.tasks.engines import index_of

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def compare(work: Work) -> CompareResult:
    """Run every detector with its published settings; the truth stays out, so the API measures on what is known."""
    spec = CompareSpec.model_validate(work.spec)
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    affected = affected_images(work, spec.affected, packed, card)
    evidence = DetectorInput(
        packed,
        model,
        card,
        index_of(work, spec.index_id),
        np.stack([image.pixels for image in affected]),
        spec.predicted,
        packed.test[0],
        n_b=spec.n_queries,
        seed=spec.seed,
        device=work.device,
    )
    chosen = [detectors.make(name) for name in spec.detectors]
    result = comparison.compare(evidence, chosen, progress=work.progress)
    model.to(work.device)
    out_dir = work.folder / "comparison"
    comparison.write(result, evidence, out_dir, affected=[image.name for image in affected])
    return CompareResult(
        files=work.store.put_tree(out_dir), summary=json.loads((out_dir / "comparison.json").read_text())
    )
