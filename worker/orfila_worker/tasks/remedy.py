"""Remedy: repair a model without some training images, check the repaired model, and prove the repair."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from orfila.indexes.models import FingerprintIndex as IndexRow
from orfila.jobs.contracts import RemedyResult, RemedySpec
from orfila.remedies import schemas
from orfila_engine.architectures import save_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.progress import part
from orfila_engine.unlearning import Repaired, Verification, recipe_of, unlearn, verify
from orfila_worker.tasks.affected import affected_images, triggered_images
from orfila_worker.tasks.model_check import check

if TYPE_CHECKING:
    from orfila_worker.runner import Work

CHANGED_LISTED = 2_000
"""Changed test images that the report names; it counts all of them."""


def remedy(work: Work) -> RemedyResult:
    """Unlearn the removed set; a killed worker's successor goes on from the last checkpoint."""
    began = time.monotonic()
    spec = RemedySpec.model_validate(work.spec)
    before, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    removed = np.load(work.store.local_path(spec.removed), allow_pickle=False)
    metadata, _ = read_header(work.store.local_path(spec.weights))
    with work.database.reading() as session:
        index_files = dict(session.get_one(IndexRow, spec.index_id).files)
    repaired = unlearn(
        spec.method,
        before,
        card,
        packed,
        removed.tolist(),
        recipe=recipe_of(metadata),
        epochs=spec.epochs,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
        index=work.warm.index(index_files),
        device=work.device,
        progress=part(work.progress, 0.0, 0.85),
        checkpoint_dir=work.folder / "checkpoints",
    )
    triggered = None
    if spec.triggered_pack is not None:
        triggered = triggered_images(work, spec.triggered_pack, card, spec.predicted)
    proof = verify(
        before,
        repaired.model,
        card,
        packed,
        affected_images(work, spec.affected, packed, card),
        triggered=triggered,
        target=spec.predicted,
        predicted_margins=spec.predicted_margins,
        device=work.device,
        progress=part(work.progress, 0.85, 0.95),
    )
    path = work.folder / "model.safetensors"
    save_model(path, repaired.model, card, training=repaired.summary())
    checked = check(work, repaired.model, card, packed)
    before.to(work.device)
    return RemedyResult(
        weights=work.store.put_file(path),
        check=checked,
        verification=_verification(proof, repaired, time.monotonic() - began),
        epochs=repaired.epochs,
        learning_rate=repaired.learning_rate,
    )


def _verification(proof: Verification, repaired: Repaired, seconds: float) -> schemas.Verification:
    outcomes = [
        schemas.AffectedOutcome(**{name: getattr(a, name) for name in schemas.AffectedOutcome.model_fields})
        for a in proof.affected
    ]
    return schemas.Verification(
        sentence=proof.sentence(),
        affected=outcomes,
        accuracy_before=proof.before.accuracy,
        accuracy_after=proof.after.accuracy,
        class_accuracy_before=proof.before.class_accuracy.tolist(),
        class_accuracy_after=proof.after.class_accuracy.tolist(),
        changed=proof.changed[:CHANGED_LISTED].tolist(),
        n_changed=len(proof.changed),
        n_test=len(proof.before.labels),
        psr_before=proof.psr_before,
        psr_after=proof.psr_after,
        n_triggered=proof.n_triggered,
        settings=repaired.settings,
        seconds=seconds,
    )
