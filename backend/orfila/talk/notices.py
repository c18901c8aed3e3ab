"""Telling one person something: in the application, live."""

from __future__ import annotations

from sqlalchemy.orm import Session

from orfila.events import publish
from orfila.talk.models import Notification
from orfila.talk.schemas import NotificationKind

MAX_TEXT = 300


def notify(
    session: Session,
    user_id: str,
    kind: NotificationKind,
    *,
    actor: str,
    project_id: str,
    case_id: str,
    text: str,
    path: str,
) -> None:
    """Leave a notification for a person, in the caller's transaction.

    actor: name of who caused it. path: of the browser interface, where it is about.
    """
    shown = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    session.add(
        Notification(
            user_id=user_id, kind=kind, actor=actor, project_id=project_id, case_id=case_id, text=shown, path=path
        )
    )
    publish(session, "notification", {"kind": "notification", "id": user_id, "case_id": case_id}, project_id)
