"""Refit: learn from the verdicts on a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orfila.jobs.contracts import RefitResult, RefitSpec
from orfila.review.learning import as_json
from orfila_engine.progress import part
from orfila_engine.refit import refit as fit_again
from orfila_worker.tasks.affected import affected_images
from orfila_worker.tasks.engines import ekfac_of, index_of
from orfila_worker.tasks.investigate import finding_of

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def refit(work: Work) -> RefitResult:
    """Run the engine's refit on the case's files as they are."""
    spec = RefitSpec.model_validate(work.spec)
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    slow = spec.engine == "ekfac"
    exact = ekfac_of(work, spec.index_id, model, card, packed, part(work.progress, 0, 0.4)) if slow else None
    found, learned = work.folder / "found", work.folder / "learned"
    work.store.materialise(spec.found, found)
    result = fit_again(
        found,
        exact or index_of(work, spec.index_id),
        packed,
        model,
        card,
        affected_images(work, spec.affected, packed, card),
        poison=spec.poison,
        clean=spec.clean,
        out_dir=learned,
        progress=part(work.progress, 0.4, 1) if slow else work.progress,
    )
    (learned / "verdicts.json").write_text(as_json(spec.poison, spec.clean))
    return RefitResult(files=work.store.put_tree(learned), finding=finding_of(result.summary))
