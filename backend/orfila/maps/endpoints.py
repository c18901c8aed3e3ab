"""HTTP of maps."""

from typing import Annotated

from fastapi import APIRouter, Query

from orfila.cases import service as cases
from orfila.idempotency.service import once
from orfila.maps import schemas, service
from orfila.web.dependencies import IdempotencyKey, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["cases"])


@router.get("/cases/{case_id}/maps")
def list_maps(case_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.FingerprintMap]:
    """The maps of a case's fingerprints."""
    return service.list_maps(session, subject, case_id)


@router.post("/cases/{case_id}/maps", status_code=202)
def create_map(
    case_id: str,
    body: schemas.MapCreate,
    session: SessionDep,
    subject: SubjectDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.FingerprintMap:
    """Lay the fingerprints of a case out in a plane. A map that is there, or on its way, is given back."""
    return once(
        session, subject, idempotency_key, f"create_map/{case_id}", body, schemas.FingerprintMap,
        lambda: service.create(session, subject, case_id, body),
    )  # fmt: skip


@router.get("/cases/{case_id}/nearest/{index}")
def get_nearest(
    case_id: str,
    index: int,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 12,
) -> schemas.Nearest:
    """The suspects whose fingerprints lie nearest to one's: what pulls the model the same way."""
    return service.nearest(session, store, cases.find(session, subject, case_id), index, limit)


@router.get("/maps/{map_id}")
def get_map(map_id: str, session: SessionDep, subject: SubjectDep) -> schemas.FingerprintMap:
    """One map."""
    return service.described(session, service.find(session, subject, map_id))


@router.get("/maps/{map_id}/columns")
def get_map_columns(map_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> schemas.MapColumns:
    """The coordinates of every training image."""
    return service.coordinates(store, service.find(session, subject, map_id))
