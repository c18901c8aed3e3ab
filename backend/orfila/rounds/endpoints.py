"""HTTP of review rounds, their queues, and the final word on conflicts."""

from __future__ import annotations

from fastapi import APIRouter

from orfila.idempotency.service import once
from orfila.review.schemas import VerdictItem
from orfila.rounds import schemas, service
from orfila.web.dependencies import IdempotencyKey, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["review"])


@router.get("/cases/{case_id}/rounds")
def list_rounds(case_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Round]:
    """The review rounds of a case, the newest first."""
    return service.list_rounds(session, subject, case_id)


@router.post("/cases/{case_id}/rounds", status_code=201)
def create_round(
    case_id: str,
    body: schemas.RoundCreate,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Round:
    """Split a case's flagged images, or a sample of them, over reviewers, with unseen clean controls among them."""
    return once(
        session, subject, idempotency_key, f"create_round/{case_id}", body, schemas.Round,
        lambda: service.create(session, subject, store, case_id, body),
    )  # fmt: skip


@router.get("/rounds/{round_id}")
def get_round(round_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Round:
    """One round."""
    return service.get(session, subject, round_id)


@router.patch("/rounds/{round_id}")
def change_round(round_id: str, body: schemas.RoundChange, session: SessionDep, subject: SubjectDep) -> schemas.Round:
    """Rename a round, pause it, go on, close it, or set another due date."""
    return service.change(session, subject, round_id, body)


@router.post("/rounds/{round_id}/reassign")
def reassign_round(
    round_id: str, body: schemas.Reassignment, session: SessionDep, subject: SubjectDep
) -> schemas.Round:
    """Give what a reviewer has not judged yet to others."""
    return service.reassign(session, subject, round_id, body)


@router.post("/rounds/{round_id}/sign-off")
def sign_off_round(round_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Round:
    """Say that a round is done: every image judged by all who were asked, every conflict decided."""
    return service.sign_off(session, subject, round_id)


@router.get("/rounds/{round_id}/queue")
def get_queue(
    round_id: str, session: SessionDep, subject: SubjectDep, kind: schemas.QueueKind = "mine"
) -> schemas.Queue:
    """What there is to do in a round: one's own images, those that wait for a second verdict, conflicts, controls."""
    return service.queue(session, subject, round_id, kind)


@router.get("/cases/{case_id}/resolutions")
def list_resolutions(case_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Resolution]:
    """The final words on images that reviewers disagreed about."""
    return service.list_resolutions(session, subject, case_id)


@router.put("/cases/{case_id}/resolutions")
def resolve_conflict(
    case_id: str, body: VerdictItem, session: SessionDep, subject: SubjectDep
) -> schemas.Resolution | None:
    """Give the final word on an image, which outweighs any majority; null takes it back, and is answered."""
    return service.resolve(session, subject, case_id, body)
