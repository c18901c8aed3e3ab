"""HTTP of checks."""

from fastapi import APIRouter

from orfila.checks import schemas, service
from orfila.idempotency.service import once
from orfila.web.dependencies import IdempotencyKey, SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["checks"])


@router.get("/models/{model_id}/checks")
def list_checks(model_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.RegressionCheck]:
    """The last checks of a model, the newest first."""
    return service.list_checks(session, subject, model_id)


@router.post("/models/{model_id}/checks", status_code=201)
def create_check(
    model_id: str,
    body: schemas.CheckCreate,
    session: SessionDep,
    subject: SubjectDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.RegressionCheck:
    """Ask a model, such as the one that shall be deployed next, whether it makes the mistakes of closed cases again."""
    return once(
        session, subject, idempotency_key, f"create_check/{model_id}", body, schemas.RegressionCheck,
        lambda: service.create(session, subject, model_id, body),
    )  # fmt: skip


@router.get("/checks/{check_id}")
def get_check(check_id: str, session: SessionDep, subject: SubjectDep) -> schemas.RegressionCheck:
    """One check with its outcome."""
    return service.described(session, service.find(session, subject, check_id))
