"""HTTP of drills."""

from fastapi import APIRouter

from orfila.cases.schemas import Figure
from orfila.drills import attacks, schemas, service
from orfila.figures import drills as figures
from orfila.idempotency.service import once
from orfila.schema_base import Page
from orfila.web.dependencies import Cursor, IdempotencyKey, Limit, SessionDep, SettingsDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["drills"])


@router.get("/attacks")
def list_attacks() -> list[schemas.Attack]:
    """Attacks that a drill can plant, with their settings."""
    return attacks.offered()


@router.get("/projects/{project_id}/drills")
def list_drills(
    project_id: str, session: SessionDep, subject: SubjectDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[schemas.Drill]:
    """A project's drills, newest first."""
    return service.list_drills(session, subject, project_id, cursor, limit)


@router.post("/projects/{project_id}/drills", status_code=201)
def create_drill(
    project_id: str,
    body: schemas.DrillCreate,
    session: SessionDep,
    subject: SubjectDep,
    settings: SettingsDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Drill:
    """Plant a known poison in a copy of a data set, train on it, and measure what an investigation finds."""
    return once(
        session, subject, idempotency_key, f"create_drill/{project_id}", body, schemas.Drill,
        lambda: service.create(session, subject, settings, project_id, body),
    )  # fmt: skip


@router.get("/drills/{drill_id}")
def get_drill(drill_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Drill:
    """One drill with its outcome."""
    return service.described(session, service.find(session, subject, drill_id))


@router.get("/drills/{drill_id}/figures/precision_recall")
def get_drill_figure(drill_id: str, session: SessionDep, subject: SubjectDep) -> Figure:
    """Precision against recall of both rules, with the automatic sets on the curves."""
    return figures.precision_recall(service.outcome_of(session, subject, drill_id))
