"""HTTP of remedies."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from orfila.idempotency.service import once
from orfila.remedies import schemas, service
from orfila.web import files
from orfila.web.dependencies import IdempotencyKey, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["remedies"])


@router.get("/cases/{case_id}/remedies")
def list_remedies(case_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Remedy]:
    """A case's remedies, newest first."""
    return service.list_remedies(session, subject, case_id)


@router.get("/cases/{case_id}/remedies/preview")
def preview_removal(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    kind: schemas.RemovalKind = "flagged",
    threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> schemas.RemovalPreview:
    """What removing a set is expected to do to each affected image. Nothing is started; it answers at once."""
    wanted = schemas.RemovalSet(kind=kind, threshold=threshold)
    return service.preview(session, subject, store, case_id, wanted)


@router.post("/cases/{case_id}/remedies", status_code=201)
def create_remedy(
    case_id: str,
    body: schemas.RemedyCreate,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Remedy:
    """Repair the case's model without a set of training images, and verify it."""
    return once(
        session, subject, idempotency_key, f"create_remedy/{case_id}", body, schemas.Remedy,
        lambda: service.create(session, subject, store, case_id, body),
    )  # fmt: skip


@router.get("/remedies/{remedy_id}")
def get_remedy(remedy_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Remedy:
    """One remedy with its verification."""
    return service.described(session, service.find(session, subject, remedy_id))


@router.get("/remedies/{remedy_id}/removed.csv", response_class=Response, responses=files.described("text/csv"))
def download_removed(remedy_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> Response:
    """path,index,label of the removed images."""
    remedy = service.find(session, subject, remedy_id)
    text = service.removed_csv(session, store, remedy)
    return files.download(text, f"removed-{remedy.id[:8]}.csv", "text/csv; charset=utf-8")
