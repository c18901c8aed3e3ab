"""HTTP of presence."""

from fastapi import APIRouter

from orfila.presence import schemas, service
from orfila.web.dependencies import SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["events"])


@router.put("/cases/{case_id}/presence")
def arrive_at_case(case_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Presence:
    """Say that one looks at a case, and hear who else does. Say it again in time, or be gone."""
    return service.arrive(session, subject, case_id)


@router.delete("/cases/{case_id}/presence", status_code=204)
def leave_case(case_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Say that one has closed the case."""
    service.leave(session, subject, case_id)
