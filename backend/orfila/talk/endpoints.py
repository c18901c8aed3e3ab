"""HTTP of comments and notifications."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from orfila.idempotency.service import once
from orfila.talk import schemas, service
from orfila.web.dependencies import IdempotencyKey, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["talk"])


@router.get("/cases/{case_id}/comments")
def list_comments(
    case_id: str, session: SessionDep, subject: SubjectDep, index: Annotated[int | None, Query(ge=0)] = None
) -> list[schemas.Comment]:
    """The comments on a case and its images, oldest first; with `index`, those on one image."""
    return service.list_comments(session, subject, case_id, index)


@router.post("/cases/{case_id}/comments", status_code=201)
def create_comment(
    case_id: str,
    body: schemas.CommentCreate,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Comment:
    """Say something of a case or of one of its images; members mentioned as @NAME are notified."""
    return once(
        session, subject, idempotency_key, f"create_comment/{case_id}", body, schemas.Comment,
        lambda: service.comment(session, subject, store, case_id, body),
    )  # fmt: skip


@router.patch("/comments/{comment_id}")
def change_comment(
    comment_id: str, body: schemas.CommentChange, session: SessionDep, subject: SubjectDep
) -> schemas.Comment:
    """Reword one's own comment."""
    return service.change(session, subject, comment_id, body)


@router.delete("/comments/{comment_id}", status_code=204)
def delete_comment(comment_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Take back one's own comment."""
    service.delete(session, subject, comment_id)


@router.get("/notifications")
def list_notifications(session: SessionDep, subject: SubjectDep) -> schemas.Notifications:
    """One's own notifications, the newest first."""
    return service.list_notifications(session, subject)


@router.post("/notifications/read")
def mark_notifications_read(body: schemas.MarkRead, session: SessionDep, subject: SubjectDep) -> schemas.Notifications:
    """Mark one's notifications as read, up to one of them."""
    return service.mark_read(session, subject, body.up_to)
