"""Rules of saved views: one's own, and those that members of the project share."""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from orfila.db import new_id, now
from orfila.errors import Conflict, NotFound
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.projects.access import require
from orfila.views import schemas
from orfila.views.models import SavedView

MOST = 100
"""Views of one person in one project."""


def list_views(session: Session, subject: Subject, project_id: str) -> list[schemas.SavedView]:
    """One's own views and the shared ones, by name."""
    require(session, subject, project_id, "read")
    seen = or_(SavedView.created_by == subject.user_id, SavedView.is_shared)
    query = (
        select(SavedView, User.name)
        .join(User, User.id == SavedView.created_by)
        .where(SavedView.project_id == project_id, seen)
        .order_by(SavedView.name, SavedView.created_at)
    )
    return [_described(subject, row, author) for row, author in session.execute(query)]


def save(session: Session, subject: Subject, project_id: str, body: schemas.ViewSave) -> schemas.SavedView:
    """Keep a view. Raises Forbidden for a viewer who wants to share one, Conflict where there are too many."""
    require(session, subject, project_id, "review" if body.is_shared else "read")
    mine = (SavedView.project_id == project_id, SavedView.created_by == subject.user_id)
    row = session.scalar(select(SavedView).where(*mine, SavedView.name == body.name))
    if row is None:
        if (session.scalar(select(func.count()).where(*mine)) or 0) >= MOST:
            raise Conflict(f"You keep {MOST} views in this project; delete one first.", code="too_many_views")
        row = SavedView(id=new_id(), project_id=project_id, created_by=subject.user_id, name=body.name)
        session.add(row)
    row.view, row.is_shared, row.created_at = dict(body.view), body.is_shared, now()
    session.flush()
    return _described(subject, row, subject.name)


def delete(session: Session, subject: Subject, view_id: str) -> None:
    """Forget one's own view. Raises NotFound for another's."""
    row = session.get(SavedView, view_id)
    if row is None or row.created_by != subject.user_id:
        raise NotFound("You have no such view.")
    session.delete(row)


def _described(subject: Subject, row: SavedView, author: str) -> schemas.SavedView:
    return schemas.SavedView(
        id=row.id,
        name=row.name,
        view=row.view,
        is_shared=row.is_shared,
        is_mine=row.created_by == subject.user_id,
        created_by=author,
        created_at=row.created_at,
    )
