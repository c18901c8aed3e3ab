"""HTTP of sweeps."""

from fastapi import APIRouter

from orfila.cases.schemas import Figure
from orfila.figures import sweeps as figures
from orfila.idempotency.service import once
from orfila.schema_base import Page
from orfila.sweeps import schemas, service
from orfila.web.dependencies import Cursor, IdempotencyKey, Limit, SessionDep, SettingsDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["sweeps"])


@router.get("/projects/{project_id}/sweeps")
def list_sweeps(
    project_id: str, session: SessionDep, subject: SubjectDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[schemas.Sweep]:
    """A project's sweeps, newest first."""
    return service.list_sweeps(session, subject, project_id, cursor, limit)


@router.post("/projects/{project_id}/sweeps", status_code=201)
def create_sweep(
    project_id: str,
    body: schemas.SweepCreate,
    session: SessionDep,
    subject: SubjectDep,
    settings: SettingsDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Sweep:
    """Look for poison in every class of a model's training data, without any affected image."""
    return once(
        session, subject, idempotency_key, f"create_sweep/{project_id}", body, schemas.Sweep,
        lambda: service.create(session, subject, settings, project_id, body),
    )  # fmt: skip


@router.get("/sweeps/{sweep_id}")
def get_sweep(sweep_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Sweep:
    """One sweep with its outcome."""
    return service.described(session, service.find(session, subject, sweep_id))


@router.get("/sweeps/{sweep_id}/classes/{label}/flagged")
def list_sweep_flagged(
    sweep_id: str, label: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.SweepFlagged:
    """The training images of a class that the sweep calls poison."""
    return service.flagged(session, subject, store, sweep_id, label)


@router.get("/sweeps/{sweep_id}/figures/classes")
def get_sweep_figure(sweep_id: str, session: SessionDep, subject: SubjectDep) -> Figure:
    """The statistic of every class."""
    return figures.classes(*service.outcome_of(session, subject, sweep_id))
