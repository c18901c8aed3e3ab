"""Rules of drills: planting a known poison, and what becomes of the data set, the model and the measurement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import columns, runs
from orfila.audit.service import record
from orfila.datasets import service as datasets
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.drills import attacks, schemas
from orfila.drills.models import Drill
from orfila.errors import Conflict, Unprocessable
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.indexes import service as indexes
from orfila.jobs import service as jobs
from orfila.jobs.contracts import DrillResult, DrillSpec
from orfila.models import architectures
from orfila.models import service as models
from orfila.projects.access import Permission, require, require_of
from orfila.projects.listing import page_of
from orfila.schema_base import Page, short_name
from orfila.settings import Settings
from orfila.storage import BlobStore


def find(session: Session, subject: Subject, drill_id: str, permission: Permission = "read") -> Drill:
    """A drill that the subject may see."""
    drill = session.get(Drill, drill_id)
    require_of(session, subject, drill.project_id if drill else None, permission, "drill")
    assert drill is not None, "require_of raises for an absent object"
    return drill


def list_drills(
    session: Session, subject: Subject, project_id: str, cursor: str | None, limit: int
) -> Page[schemas.Drill]:
    """A page of a project's drills, newest first."""
    return page_of(session, subject, Drill, project_id, lambda d: described(session, d), cursor, limit)


def create(
    session: Session, subject: Subject, settings: Settings, project_id: str, body: schemas.DrillCreate
) -> schemas.Drill:
    """Start a drill on a clean data set. Raises Unprocessable for what cannot be planted in it."""
    require(session, subject, project_id, "write")
    dataset = datasets.find_ready(session, subject, body.dataset_id)
    if dataset.project_id != project_id:
        raise Unprocessable("The data set belongs to another project; choose one of this project.")
    if dataset.parent_id is not None:
        raise Unprocessable(
            "A cleansed version cannot be poisoned as it is; choose the data set that it comes from, or upload one.",
            code="cleansed_version",
        )
    _check_plantable(dataset, body)
    drill = Drill(id=new_id(), project_id=project_id, created_by=subject.user_id, **body.model_dump())
    session.add(drill)
    session.flush()
    job = jobs.submit(
        session,
        kind="drill",
        project_id=project_id,
        subject_kind="drill",
        subject_id=drill.id,
        subject_name=drill.name,
        spec=DrillSpec(drill_id=drill.id, pack=dataset.files, **body.model_dump(exclude={"name", "dataset_id"})),
        stages=[jobs.Stage(weight=0.6), jobs.Stage(indexes.ranges(settings, dataset), 0.25), jobs.Stage(weight=0.15)],
        created_by=subject.user_id,
    )
    drill.job_id = job.id
    record(
        session, subject.name, "drill.started", "drill", drill.id, project_id,
        body.model_dump(exclude={"name"}) | {"data_digest": dataset.digest},
    )  # fmt: skip
    runs.tell(session, drill)
    return described(session, drill)


def _check_plantable(dataset: Dataset, body: schemas.DrillCreate) -> None:
    attacks.require_known(body.attack, body.options)
    architectures.require_known(body.architecture)
    n_classes = len(dataset.classes)
    for name, label in (("source", body.source), ("target", body.target)):
        if label is not None and label >= n_classes:
            raise Unprocessable(f"{name} must be a class of the data set, 0 to {n_classes - 1}.", code="unknown_class")
    if body.source is not None and body.source == body.target:
        raise Unprocessable("Source and target are the same class; choose two.", code="same_class")
    if round(body.rate * dataset.n_train) < 1:
        raise Unprocessable(
            f"A rate of {body.rate:g} poisons none of {dataset.n_train:,} training images; raise it.",
            code="nothing_to_plant",
        )


def succeeded(session: Session, store: BlobStore, drill: Drill, result: DrillResult) -> None:
    """The drill is done: its data sets, model and index join the project, so that a case can be opened on them."""
    source = session.get_one(Dataset, drill.dataset_id)
    made_of = f"{source.name} with {drill.attack}"
    poisoned = datasets.add_made(
        session, project_id=drill.project_id, name=short_name(made_of), result=result.poisoned, drill_id=drill.id,
        created_by=drill.created_by,
    )  # fmt: skip
    if result.triggered is not None:
        drill.triggered_dataset_id = datasets.add_made(
            session, project_id=drill.project_id, name=short_name(f"{drill.attack} trigger on {source.name}"),
            result=result.triggered, drill_id=drill.id, created_by=drill.created_by,
        ).id  # fmt: skip
    model = models.add_made(
        session,
        poisoned,
        name=short_name(f"{drill.architecture} on {made_of}"),
        sha256=result.weights,
        check=result.check,
        created_by=drill.created_by,
        drill_id=drill.id,
    )
    indexes.add_built(session, model, poisoned, result.index)
    drill.poisoned_dataset_id, drill.model_id = poisoned.id, model.id
    drill.truth = result.truth
    drill.outcome = result.outcome.model_dump(mode="json")
    runs.finished(session, drill, model=model.id, dataset=poisoned.id, truth=drill.truth)


def outcome_of(session: Session, subject: Subject, drill_id: str) -> schemas.DrillOutcome:
    """What came of a drill. Raises Conflict while it has none."""
    drill = find(session, subject, drill_id)
    if drill.outcome is None:
        why = drill.error or "wait for its job, or run it again"
        raise Conflict(f"The drill is {drill.state} and has no result: {why}", code="drill_not_finished")
    return schemas.DrillOutcome.model_validate(drill.outcome)


def truth_of_model(session: Session, store: BlobStore, model_id: str) -> NDArray[np.int32] | None:
    """Indices of the planted training images of a model that a drill made; None for any other model."""
    truth = session.scalar(select(Drill.truth).where(Drill.model_id == model_id))
    return None if truth is None else np.asarray(columns.array(store, truth))


def described(session: Session, drill: Drill) -> schemas.Drill:
    """A drill as clients see it."""
    fields = {name: getattr(drill, name) for name in schemas.Drill.model_fields if name != "created_by"}
    return schemas.Drill.model_validate(fields | {"created_by": session.get_one(User, drill.created_by).name})
