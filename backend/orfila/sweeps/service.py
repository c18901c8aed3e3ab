"""Rules of sweeps: scanning the training data of a model, and what came of it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from orfila import columns, runs
from orfila.audit.service import record
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.errors import Conflict, NotFound, Unprocessable
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.indexes import service as indexes
from orfila.jobs import service as jobs
from orfila.jobs.contracts import SweepResult, SweepSpec
from orfila.models import service as models
from orfila.projects.access import Permission, require, require_of
from orfila.projects.listing import page_of
from orfila.schema_base import Page
from orfila.settings import Settings
from orfila.storage import BlobStore
from orfila.sweeps import schemas
from orfila.sweeps.models import Sweep

FLAGGED_FILE = "flagged.json"
"""Label -> `index` of the flagged training images, the most suspicious first."""


def find(session: Session, subject: Subject, sweep_id: str, permission: Permission = "read") -> Sweep:
    """A sweep that the subject may see."""
    sweep = session.get(Sweep, sweep_id)
    require_of(session, subject, sweep.project_id if sweep else None, permission, "sweep")
    assert sweep is not None, "require_of raises for an absent object"
    return sweep


def list_sweeps(
    session: Session, subject: Subject, project_id: str, cursor: str | None, limit: int
) -> Page[schemas.Sweep]:
    """A page of a project's sweeps, newest first."""
    return page_of(session, subject, Sweep, project_id, lambda s: described(session, s), cursor, limit)


def create(
    session: Session, subject: Subject, settings: Settings, project_id: str, body: schemas.SweepCreate
) -> schemas.Sweep:
    """Start a sweep of a model's training data; it waits for the fingerprint index."""
    require(session, subject, project_id, "write")
    model = models.find_ready(session, subject, body.model_id)
    if model.project_id != project_id:
        raise Unprocessable("The model belongs to another project; choose one of this project.")
    dataset = session.get_one(Dataset, model.dataset_id)
    models.require_whole(dataset)
    index = indexes.ensure(session, settings, model, dataset, subject.user_id)
    sweep = Sweep(
        id=new_id(),
        project_id=project_id,
        model_id=model.id,
        dataset_id=dataset.id,
        index_id=index.id,
        created_by=subject.user_id,
    )
    session.add(sweep)
    session.flush()
    job = jobs.submit(
        session,
        kind="sweep",
        project_id=project_id,
        subject_kind="sweep",
        subject_id=sweep.id,
        subject_name=model.name,
        spec=SweepSpec(
            sweep_id=sweep.id,
            index_id=index.id,
            weights=model.sha256,
            card=models.card_of(model),
            pack=dataset.files,
        ),
        depends_on=[index.job_id] if index.state == "building" and index.job_id else [],
        created_by=subject.user_id,
    )
    sweep.job_id = job.id
    record(
        session, subject.name, "sweep.started", "sweep", sweep.id, project_id,
        {"model": model.id, "model_sha256": model.sha256, "data_digest": dataset.digest},
    )  # fmt: skip
    runs.tell(session, sweep)
    return described(session, sweep)


def succeeded(session: Session, sweep: Sweep, result: SweepResult) -> None:
    """Every class was looked at."""
    sweep.files = dict(result.files)
    sweep.outcome = result.outcome.model_dump(mode="json")
    runs.finished(session, sweep, accused=[c.label for c in result.outcome.classes if c.accused])


def outcome_of(session: Session, subject: Subject, sweep_id: str) -> tuple[schemas.SweepOutcome, list[str]]:
    """What a sweep found, and the names of the classes. Raises Conflict while there is nothing."""
    sweep = find(session, subject, sweep_id)
    if sweep.outcome is None:
        raise Conflict(f"The sweep is {sweep.state} and has no result.", code="sweep_not_finished")
    classes = session.get_one(Dataset, sweep.dataset_id).classes
    return schemas.SweepOutcome.model_validate(sweep.outcome), classes


def flagged(session: Session, subject: Subject, store: BlobStore, sweep_id: str, label: int) -> schemas.SweepFlagged:
    """The images of a class that the sweep calls poison."""
    outcome, _ = outcome_of(session, subject, sweep_id)
    if label not in {c.label for c in outcome.classes}:
        raise NotFound(f"There is no class {label}; the sweep looked at {len(outcome.classes)}, numbered from 0.")
    found: dict[str, list[int]] = columns.json_file(store, find(session, subject, sweep_id).files[FLAGGED_FILE])
    return schemas.SweepFlagged(label=label, indices=found.get(str(label), []))


def described(session: Session, sweep: Sweep) -> schemas.Sweep:
    """A sweep as clients see it."""
    fields = {name: getattr(sweep, name) for name in schemas.Sweep.model_fields if name != "created_by"}
    return schemas.Sweep.model_validate(fields | {"created_by": session.get_one(User, sweep.created_by).name})
