"""Rules of presence: a browser says every few seconds that somebody is there, and who falls silent is gone."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.db import now
from orfila.events import publish
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.presence import schemas
from orfila.presence.models import Viewer

SAY_EVERY = timedelta(seconds=10)
GONE_AFTER = timedelta(seconds=25)


def arrive(session: Session, subject: Subject, case_id: str) -> schemas.Presence:
    """Say that the subject looks at a case; everybody who does is told when somebody comes or has gone."""
    case = cases.find(session, subject, case_id)
    at = now()
    gone = session.scalars(
        delete(Viewer).where(Viewer.case_id == case_id, Viewer.seen_at < at - GONE_AFTER).returning(Viewer.user_id)
    ).all()
    row = session.get(Viewer, (case_id, subject.user_id))
    if row is None:
        # Another tab of theirs may be first.
        with suppress(IntegrityError), session.begin_nested():
            session.add(Viewer(case_id=case_id, user_id=subject.user_id, seen_at=at))
    else:
        row.seen_at = at
    if row is None or set(gone) - {subject.user_id}:
        _tell(session, case)
    session.flush()
    return _others(session, subject, case_id)


def leave(session: Session, subject: Subject, case_id: str) -> None:
    """Say that the subject has closed the case."""
    case = cases.find(session, subject, case_id)
    row = session.get(Viewer, (case_id, subject.user_id))
    if row is not None:
        session.delete(row)
        _tell(session, case)


def _others(session: Session, subject: Subject, case_id: str) -> schemas.Presence:
    query = select(User.name).join(Viewer, Viewer.user_id == User.id)
    names = session.scalars(query.where(Viewer.case_id == case_id, User.id != subject.user_id).order_by(User.name))
    return schemas.Presence(others=list(names), again_in_seconds=SAY_EVERY.total_seconds())


def _tell(session: Session, case: Case) -> None:
    publish(session, "presence", {"kind": "presence", "id": case.id, "case_id": case.id}, case.project_id)
