"""HTTP of the audit trail."""

from fastapi import APIRouter

from orfila.audit import schemas, service
from orfila.rounds import service as rounds
from orfila.schema_base import Page
from orfila.web.dependencies import Cursor, Limit, SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["audit"])


@router.get("/audit")
def list_audit(
    session: SessionDep,
    subject: SubjectDep,
    project_id: str | None = None,
    subject_id: str | None = None,
    case_id: str | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[schemas.AuditEvent]:
    """Who did what, newest first."""
    blind = rounds.blind_cases(session, subject)
    return service.list_events(session, subject, project_id, subject_id, case_id, cursor, limit, blind_cases=blind)


@router.get("/audit/check")
def check_audit(session: SessionDep, subject: SubjectDep) -> schemas.ChainCheck:
    """Walk the whole chain and say whether it is whole."""
    return service.check(session)
