"""Rules of remedies: which images to remove, starting a repair, and what becomes of its result."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import columns
from orfila.audit.service import record
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.datasets import images
from orfila.datasets import service as datasets
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.errors import Conflict, Unprocessable
from orfila.events import publish
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import AffectedSpec, RemedyResult, RemedySpec
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.projects.access import Permission, require_of
from orfila.remedies import schemas
from orfila.remedies.models import Remedy
from orfila.review import repository as verdicts
from orfila.schema_base import short_name
from orfila.storage import BlobStore


def find(session: Session, subject: Subject, remedy_id: str, permission: Permission = "read") -> Remedy:
    """A remedy that the subject may see."""
    remedy = session.get(Remedy, remedy_id)
    require_of(session, subject, remedy.project_id if remedy else None, permission, "remedy")
    assert remedy is not None, "require_of raises for an absent object"
    return remedy


def list_remedies(session: Session, subject: Subject, case_id: str) -> list[schemas.Remedy]:
    """A case's remedies, newest first."""
    cases.find(session, subject, case_id)
    query = select(Remedy).where(Remedy.case_id == case_id).order_by(Remedy.created_at.desc(), Remedy.id)
    return [described(session, r) for r in session.scalars(query)]


def removal_set(scores: columns.Scores, said: Mapping[int, str], wanted: schemas.RemovalSet) -> NDArray[np.int32]:
    """Sorted indices of the training images to remove.

    flagged and threshold: the automatic set, less the images that reviewers call clean, plus those they call poison.
    poison_verdicts: only the latter. Raises Unprocessable for a threshold that is missing or not asked for.
    """
    if (wanted.threshold is not None) != (wanted.kind == "threshold"):
        raise Unprocessable("Give `threshold` with the kind `threshold`, and only with it.")
    chosen = np.zeros(len(scores), dtype=bool)
    if wanted.kind == "flagged":
        chosen = scores.flags["flagged"].copy()
    elif wanted.threshold is not None:
        chosen = scores.flags["suspect"] & (scores.posterior > wanted.threshold)
    for index, verdict in said.items():
        if verdict != "unsure":
            chosen[index] = verdict == "poison"
    return np.flatnonzero(chosen).astype(np.int32)


def preview(
    session: Session, subject: Subject, store: BlobStore, case_id: str, wanted: schemas.RemovalSet
) -> schemas.RemovalPreview:
    """What removing a set is expected to do to each affected image of a case."""
    case = cases.find(session, subject, case_id)
    scores = findings.scores(store, case)
    removed = removal_set(scores, verdicts.effective(session, case_id), wanted)
    _check_removal(scores, removed, session.get_one(Dataset, case.dataset_id))
    return schemas.RemovalPreview(n_removed=len(removed), affected=_predicted(store, case, removed))


def _predicted(store: BlobStore, case: Case, removed: NDArray[np.int32]) -> list[schemas.PredictedOutcome]:
    changes = findings.removal_effects(store, case)[:, removed].sum(1, dtype=np.float64)
    outcomes = []
    for image, change, (known, expected) in zip(
        case.affected, changes.tolist(), findings.removal_curves(store, case), strict=True
    ):
        # The change itself is read off a ranking whose beginnings the engine has worked out: it does not add up.
        after = float(np.interp(-change, -known, expected))
        outcomes.append(
            schemas.PredictedOutcome(
                number=image["number"], margin=image["margin"], predicted_margin=after, expected_to_flip=after < 0
            )
        )
    return outcomes


def create(
    session: Session, subject: Subject, store: BlobStore, case_id: str, body: schemas.RemedyCreate
) -> schemas.Remedy:
    """Start a repair of the case's model without a set of training images."""
    case = cases.find(session, subject, case_id, "write")
    cases.require_open(case)
    if case.state == "repairing":
        raise Conflict("Another repair of this case is running; wait for it or cancel it.", code="case_busy")
    scores = findings.scores(store, case)
    removed = removal_set(scores, verdicts.effective(session, case_id), body.remove)
    dataset = session.get_one(Dataset, case.dataset_id)
    _check_removal(scores, removed, dataset)
    if body.method not in schemas.TRAINING and (body.epochs is not None or body.learning_rate is not None):
        raise Unprocessable(
            f"`{body.method}` trains nothing; leave out `epochs` and `learning_rate`.", code="nothing_is_trained"
        )
    model = session.get_one(ClassifierModel, case.model_id)
    triggered = session.get(Dataset, case.triggered_dataset_id) if case.triggered_dataset_id else None
    assert case.finding is not None, "findings.scores raises while there is none"
    digest = store.put_bytes(_npy(removed))
    remedy_id = new_id()
    spec = RemedySpec(
        remedy_id=remedy_id,
        method=body.method,
        weights=model.sha256,
        card=models.card_of(model),
        pack=dataset.files,
        removed=digest,
        epochs=body.epochs,
        learning_rate=body.learning_rate,
        seed=body.seed,
        affected=[AffectedSpec.model_validate(a) for a in case.sources],
        predicted=case.finding["predicted"],
        triggered_pack=triggered.files if triggered else None,
        index_id=case.index_id,
        predicted_margins=[p.predicted_margin for p in _predicted(store, case, removed)],
    )
    job = jobs.submit(
        session,
        kind="remedy",
        project_id=case.project_id,
        subject_kind="remedy",
        subject_id=remedy_id,
        subject_name=f"{case.name}: {body.method.upper()}",
        spec=spec,
        created_by=subject.user_id,
    )
    remedy = Remedy(
        id=remedy_id,
        project_id=case.project_id,
        case_id=case.id,
        method=body.method,
        remove=body.remove.model_dump(mode="json"),
        removed=digest,
        n_removed=len(removed),
        epochs=body.epochs,
        learning_rate=body.learning_rate,
        seed=body.seed,
        state="running",
        job_id=job.id,
        created_by=subject.user_id,
    )
    session.add(remedy)
    case.state = "repairing"
    session.flush()
    record(
        session, subject.name, "remedy.started", "remedy", remedy.id, case.project_id,
        {"method": body.method, "n_removed": len(removed), "removed": digest, "seed": body.seed},
        case_id=case.id,
    )  # fmt: skip
    _tell(session, remedy)
    cases.tell(session, case)
    return described(session, remedy)


def _check_removal(scores: columns.Scores, removed: NDArray[np.int32], dataset: Dataset) -> None:
    if len(removed) == 0:
        raise Unprocessable(
            "Nothing would be removed: no image is flagged or judged poison; review some images, or lower the "
            "threshold.",
            code="nothing_to_remove",
        )
    left = np.array(dataset.counts["train"]) - np.bincount(scores.label[removed], minlength=len(dataset.classes))
    if (left <= 0).any():
        raise Unprocessable(
            f"Removing {len(removed):,} images would leave the class '{dataset.classes[int(np.argmin(left))]}' without "
            "training images; raise the threshold.",
            code="class_emptied",
        )


def succeeded(session: Session, store: BlobStore, remedy: Remedy, result: RemedyResult) -> None:
    """The repair is stored: a cleansed data set version and a repaired model join the case."""
    case = session.get_one(Case, remedy.case_id)
    parent = session.get_one(Dataset, case.dataset_id)
    model = session.get_one(ClassifierModel, case.model_id)
    cleansed = datasets.ensure_cleansed(
        session, store, parent, remedy.removed, remedy.created_by, "worker",
        name=short_name(f"{parent.name} without {remedy.n_removed:,} (case {case.number})"),
    )  # fmt: skip
    repaired = models.add_made(
        session,
        cleansed,
        name=short_name(f"{model.name} repaired by {remedy.method.upper()} (case {case.number})"),
        sha256=result.weights,
        check=result.check,
        remedy_id=remedy.id,
        created_by=remedy.created_by,
    )
    remedy.cleansed_dataset_id, remedy.model_id = cleansed.id, repaired.id
    remedy.epochs, remedy.learning_rate = result.epochs, result.learning_rate
    remedy.verification = result.verification.model_dump(mode="json")
    healed = all(a.healed for a in result.verification.affected)
    _end(session, remedy, "verified" if healed else "not_healed", None)


def failed(session: Session, remedy: Remedy, sentence: str) -> None:
    """The repair failed; the case can be repaired again."""
    _end(session, remedy, "failed", sentence)


def cancelled(session: Session, remedy: Remedy) -> None:
    """The repair was cancelled."""
    _end(session, remedy, "cancelled", None)


def restarted(session: Session, remedy: Remedy) -> None:
    """Its job runs again."""
    remedy.state, remedy.error = "running", None
    case = session.get_one(Case, remedy.case_id)
    case.state = "repairing"
    _tell(session, remedy)
    cases.tell(session, case)


def _end(session: Session, remedy: Remedy, state: schemas.RemedyState, error: str | None) -> None:
    remedy.state, remedy.error = state, error
    case = session.get_one(Case, remedy.case_id)
    session.flush()
    proven = session.scalar(select(Remedy.id).where(Remedy.case_id == case.id, Remedy.state == "verified").limit(1))
    case.state = "verified" if proven else "in_review"
    detail: dict[str, Any] = {"state": state} | ({"error": error} if error else {})
    if remedy.model_id:
        detail["model"] = remedy.model_id
    record(session, "worker", "remedy.ended", "remedy", remedy.id, case.project_id, detail, case_id=case.id)
    _tell(session, remedy)
    cases.tell(session, case)


def removed_csv(session: Session, store: BlobStore, remedy: Remedy) -> str:
    """path,index,label of the removed images; label is the class name."""
    dataset = session.get_one(Dataset, session.get_one(Case, remedy.case_id).dataset_id)
    indices = columns.array(store, remedy.removed)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "index", "label"))
    for row in images.manifest_of(store, dataset).rows(indices):
        writer.writerow((row["name"], row["index"], dataset.classes[row["label"]]))
    return out.getvalue()


def described(session: Session, remedy: Remedy) -> schemas.Remedy:
    """A remedy as clients see it."""
    given = ("removed_digest", "created_by")
    fields = {name: getattr(remedy, name) for name in schemas.Remedy.model_fields if name not in given}
    fields |= {"removed_digest": remedy.removed, "created_by": session.get_one(User, remedy.created_by).name}
    return schemas.Remedy.model_validate(fields)


def _npy(indices: NDArray[np.int32]) -> bytes:
    out = io.BytesIO()
    np.save(out, indices, allow_pickle=False)
    return out.getvalue()


def _tell(session: Session, remedy: Remedy) -> None:
    payload = {"kind": "remedy", "id": remedy.id, "case_id": remedy.case_id, "state": remedy.state}
    publish(session, "remedy", payload, remedy.project_id)
