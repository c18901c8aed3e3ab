"""All SQL of models."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila.models.models import ClassifierModel
from orfila.pagination import newest_first


def page(session: Session, project_id: str, cursor: str | None, limit: int) -> tuple[list[ClassifierModel], str | None]:
    """A page of a project's models, newest first."""
    query = select(ClassifierModel).where(ClassifierModel.project_id == project_id)
    return newest_first(
        session, query, ClassifierModel.created_at, ClassifierModel.id, cursor, limit, lambda m: (m.created_at, m.id)
    )
