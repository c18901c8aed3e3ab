"""Publishing and reading of news."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from orfila.db import now
from orfila.events.models import Event

KEEP = timedelta(days=2)
"""How long news can be replayed."""


def publish(session: Session, topic: str, payload: dict[str, Any], project_id: str) -> None:
    """Tell every open browser, once the transaction is committed.

    topic: dataset | model | case | verdicts | round | comment | notification | presence | remedy | job | upload.
    payload: {"kind", "id"} and what else helps: "case_id", "state", "progress", "phase". `project_id` is added.
    """
    session.add(Event(topic=topic, project_id=project_id, payload={**payload, "project_id": project_id}))


def latest_id(session: Session) -> int:
    """The id of the newest event, 0 where there is none."""
    return session.scalar(select(func.max(Event.id))) or 0


def after(session: Session, last_id: int, *, limit: int = 500) -> list[Event]:
    """Events after an id, oldest first."""
    return list(session.scalars(select(Event).where(Event.id > last_id).order_by(Event.id).limit(limit)))


def prune(session: Session) -> None:
    """Forget what is too old to be replayed."""
    session.execute(delete(Event).where(Event.at < now() - KEEP))
