"""Investigate: score every training image for the affected images of a case, on an index that is ready."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orfila.cases.schemas import AffectedImage, Estimate, Finding, SharedMark
from orfila.jobs.contracts import EkfacPartResult, InvestigateResult, InvestigateSpec, Tree
from orfila_engine import investigation
from orfila_engine.architectures.weights import read_header
from orfila_engine.ekfac import EkfacEngine
from orfila_engine.ekfac.parts import join_answers
from orfila_engine.engines import FingerprintEngine
from orfila_engine.training import Recipe
from orfila_engine.unlearning import RemovalPreview, recipe_of
from orfila_worker.tasks.affected import affected_images
from orfila_worker.tasks.ekfac import answer_files, drop_answers, joined_engine, phase
from orfila_worker.tasks.engines import index_of, open_ekfac

if TYPE_CHECKING:
    from orfila_worker.runner import Work


EVIDENCE = (
    "level", "p_value", "p_group", "p_image", "statistic", "share_suspects", "share_counterparts", "n_counterparts",
    "n_reference",
)  # fmt: skip
"""Fields of the finding that are the engine's evidence as it is."""


def investigate(work: Work) -> InvestigateResult | EkfacPartResult:
    """Run the engine's investigation and put its numbers under the API's names, unchanged."""
    spec = InvestigateSpec.model_validate(work.spec)
    return _find(work, spec) if spec.phases[work.stage] == "finding" else phase(work, spec)


def _find(work: Work, spec: InvestigateSpec) -> InvestigateResult:
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    index = index_of(work, spec.index_id)
    if spec.engine == "fingerprint":
        index.hold()
    affected = affected_images(work, spec.affected, packed, card)
    quick = FingerprintEngine(index, model, card, with_own_products=True)
    exact: EkfacEngine | None = None
    files: Tree = {}
    if spec.engine == "ekfac":
        files = joined_engine(work)
        engine = open_ekfac(work, files, model, card, packed)
        exact = replace(engine, answers=join_answers(answer_files(work)))
        drop_answers(work)
    result = investigation.investigate(
        exact or quick,
        packed,
        model,
        card,
        affected,
        rule=spec.rule,
        out_dir=work.folder / "investigation",
        n_b=spec.n_queries,
        seed=spec.seed,
        suspects=spec.suspects,
        progress=work.progress,
    )
    metadata, _ = read_header(work.store.local_path(spec.weights))
    recipe = recipe_of(metadata) or Recipe()
    # An exact engine's fingerprints are of another store than the index.
    symptom = result.symptom if exact is None else None
    preview = RemovalPreview(index, packed, model, card, affected, recipe, symptom=symptom)
    if quick.own_products is not None:
        preview.take(quick.own_products)
    preview.write(result.path)
    summary = result.summary
    return InvestigateResult(
        files=work.store.put_tree(result.path),
        finding=finding_of(summary),
        affected=[AffectedImage(**{k: image[k] for k in AffectedImage.model_fields}) for image in summary["affected"]],
        ekfac=None if exact is None else files | _added(work, exact.path, files),
    )


def _added(work: Work, folder: Path, files: Tree) -> Tree:
    """What the investigation has put beside an engine's files."""
    return {p.name: work.store.put_file(p) for p in sorted(folder.iterdir()) if p.is_file() and p.name not in files}


def finding_of(summary: dict[str, Any]) -> Finding:
    """An engine's summary under the API's names."""
    evidence = summary["evidence"]
    same = ("sentence", "predicted", "n_train", "n_suspects", "n_flagged", "n_flagged_paper", "threshold", "seconds")
    return Finding(
        **{name: summary[name] for name in (*same, "engine", "parameters", "warnings")},
        evidence=evidence["verdict"],
        **{name: evidence[name] for name in EVIDENCE},
        precision=Estimate(**summary["precision"]),
        recall=Estimate(**summary["recall"]),
        mark=None if summary["mark"] is None else SharedMark(**summary["mark"]),
    )
