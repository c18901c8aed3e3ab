"""HTTP of the audit trail."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from orfila.audit import schemas, service
from orfila.db import Database
from orfila.rounds import service as rounds
from orfila.schema_base import Page
from orfila.web import files
from orfila.web.dependencies import Cursor, DatabaseDep, Limit, SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["audit"])


@router.get("/audit")
def list_audit(
    session: SessionDep,
    subject: SubjectDep,
    project_id: str | None = None,
    subject_id: str | None = None,
    case_id: str | None = None,
    actor: Annotated[str | None, Query(max_length=255)] = None,
    kind: Annotated[str | None, Query(max_length=32, pattern=r"^[a-z_]+$")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[schemas.AuditEvent]:
    """Who did what, newest first; of one person, or of one kind (what stands before the point of an action)."""
    blind = rounds.blind_cases(session, subject)
    return service.list_events(
        session, subject, project_id, subject_id, case_id, cursor, limit, actor=actor, kind=kind, blind_cases=blind
    )


@router.get("/audit/check")
def check_audit(session: SessionDep, subject: SubjectDep) -> schemas.ChainCheck:
    """Walk the whole chain and say whether it is whole."""
    return service.check(session)


@router.get("/audit/export.jsonl", response_class=StreamingResponse, responses=files.described("application/jsonl"))
def export_audit(subject: SubjectDep, database: DatabaseDep) -> StreamingResponse:
    """The whole chain, a line of JSON for each event, oldest first; `orfila audit verify FILE` checks it anywhere."""
    service.require_administrator(subject)
    headers = {"Content-Disposition": 'attachment; filename="orfila-audit.jsonl"'}
    return StreamingResponse(_lines(database), media_type="application/jsonl", headers=headers)


def _lines(database: Database) -> Iterator[str]:
    # A transaction of its own: that of the request is over when the answer is sent.
    with database.reading() as session:
        yield from service.export(session)
