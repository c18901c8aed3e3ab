"""Sweep: search every class of the training data for poison, on an index that is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orfila.jobs.contracts import SweepResult, SweepSpec
from orfila.sweeps.schemas import SweepClass, SweepOutcome
from orfila_engine import sweep as engine
from orfila_engine.sweep import ClassFinding
from orfila_worker.tasks.engines import index_of

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def sweep(work: Work) -> SweepResult:
    """Run the engine's sweep and put its numbers under the API's names, unchanged."""
    spec = SweepSpec.model_validate(work.spec)
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    found = engine.sweep(index_of(work, spec.index_id), packed, model, card, progress=work.progress)
    out_dir = work.folder / "sweep"
    engine.write_sweep(found, packed, out_dir)
    outcome = SweepOutcome(
        sentence=found.sentence,
        n_train=found.n_train,
        classes=[_class(c) for c in found.classes],
        seconds=found.seconds,
    )
    return SweepResult(files=work.store.put_tree(out_dir), outcome=outcome)


def _class(found: ClassFinding) -> SweepClass:
    evidence = found.evidence
    return SweepClass(
        label=found.label,
        n_images=found.n_images,
        accused=found.accused,
        evidence=evidence.verdict,
        level=evidence.level,
        p_value=evidence.p_value,
        statistic=evidence.statistic,
        share_suspects=evidence.share_suspects,
        share_counterparts=evidence.share_counterparts,
        n_counterparts=evidence.n_counterparts,
        n_flagged=len(found.flagged),
    )
