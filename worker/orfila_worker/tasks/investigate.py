"""Investigate: score every training image for the affected images of a case, on an index that is ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orfila.cases.schemas import AffectedImage, Estimate, Finding, SharedMark
from orfila.jobs.contracts import AffectedSpec, InvestigateResult, InvestigateSpec
from orfila_engine import investigation
from orfila_engine.architectures import ModelCard
from orfila_engine.architectures.weights import read_header
from orfila_engine.data import PackedDataset
from orfila_engine.investigation import Affected, affected_from_test, read_affected
from orfila_engine.progress import part
from orfila_engine.training import Recipe
from orfila_engine.unlearning import RemovalPreview, recipe_of
from orfila_worker.tasks.engines import ekfac_of, index_of

if TYPE_CHECKING:
    from orfila_worker.runner import Work


EVIDENCE = (
    "level", "p_value", "p_group", "p_image", "statistic", "share_suspects", "share_counterparts", "n_counterparts",
    "n_reference",
)  # fmt: skip
"""Fields of the finding that are the engine's evidence as it is."""


def investigate(work: Work) -> InvestigateResult:
    """Run the engine's investigation and put its numbers under the API's names, unchanged."""
    spec = InvestigateSpec.model_validate(work.spec)
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    index = index_of(work, spec.index_id)
    slow = spec.engine == "ekfac"
    exact = ekfac_of(work, spec.index_id, model, card, packed, part(work.progress, 0, 0.4)) if slow else None
    affected = affected_images(work, spec.affected, packed, card)
    result = investigation.investigate(
        exact or index,
        packed,
        model,
        card,
        affected,
        rule=spec.rule,
        out_dir=work.folder / "investigation",
        n_b=spec.n_queries,
        seed=spec.seed,
        suspects=spec.suspects,
        progress=part(work.progress, 0.4, 1) if slow else work.progress,
    )
    metadata, _ = read_header(work.store.local_path(spec.weights))
    RemovalPreview(index, packed, model, card, affected, recipe_of(metadata) or Recipe()).write(result.path)
    summary = result.summary
    return InvestigateResult(
        files=work.store.put_tree(result.path),
        finding=finding_of(summary),
        affected=[AffectedImage(**{k: image[k] for k in AffectedImage.model_fields}) for image in summary["affected"]],
        ekfac=None if exact is None else work.store.put_tree(exact.path),
    )


def affected_images(
    work: Work, specs: Sequence[AffectedSpec], packed: PackedDataset, card: ModelCard
) -> list[Affected]:
    """The affected images, converted to what the model takes. Raises DataError for an upload that is no picture."""
    images = []
    for spec in specs:
        if spec.test_index is not None:
            images.append(affected_from_test(packed, spec.test_index))
        else:
            assert spec.image is not None
            with work.store.open(spec.image) as file:
                images.append(read_affected(file.read(), spec.name, card, spec.true_label))
    return images


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
