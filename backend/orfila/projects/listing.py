"""Lists of what a project holds: one page, newest first, for those who may read the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from orfila.db import Owned
from orfila.identity.subject import Subject
from orfila.pagination import newest_first
from orfila.projects.access import require
from orfila.schema_base import Page

Row = TypeVar("Row", bound=Owned)
Body = TypeVar("Body")


def page_of(
    session: Session,
    subject: Subject,
    row: type[Row],
    project_id: str,
    described: Callable[[Row], Body],
    cursor: str | None,
    limit: int,
    *where: ColumnElement[bool],
) -> Page[Body]:
    """A page of a project's rows of one table; `where` narrows them. Raises NotFound for a project not readable."""
    require(session, subject, project_id, "read")
    query = select(row).where(row.project_id == project_id, *where)
    rows, next_cursor = newest_first(session, query, row, cursor, limit)
    return Page(items=[described(r) for r in rows], next_cursor=next_cursor)
