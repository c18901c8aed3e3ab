"""Who may do what in a project: the one place that decides it.

| role     | read | review (verdicts) | write | manage (members) |
|----------|------|-------------------|-------|------------------|
| owner    | yes  | yes               | yes   | yes              |
| analyst  | yes  | yes               | yes   | no               |
| reviewer | yes  | yes               | no    | no               |
| viewer   | yes  | no                | no    | no               |

Administrators may do everything. Others are told that a foreign project does not exist.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from orfila.errors import Forbidden, NotFound
from orfila.identity.subject import Subject
from orfila.projects.models import Membership, Project

Permission = Literal["read", "review", "write", "manage"]
_ALLOWED: dict[Permission, frozenset[str]] = {
    "read": frozenset({"owner", "analyst", "reviewer", "viewer"}),
    "review": frozenset({"owner", "analyst", "reviewer"}),
    "write": frozenset({"owner", "analyst"}),
    "manage": frozenset({"owner"}),
}


def readable_projects(subject: Subject) -> Select[str]:
    """Ids of the projects that a subject may see, for `column.in_(...)`."""
    if subject.is_administrator:
        return select(Project.id)
    return select(Membership.project_id).where(Membership.user_id == subject.user_id)


def role_of(session: Session, user_id: str, project_id: str) -> str | None:
    """A person's role in a project; None for somebody who does not belong to it."""
    return session.scalar(
        select(Membership.role).where(Membership.project_id == project_id, Membership.user_id == user_id)
    )


def allows(session: Session, subject: Subject, project_id: str, permission: Permission) -> bool:
    """Whether the subject may do this in a project."""
    return subject.is_administrator or role_of(session, subject.user_id, project_id) in _ALLOWED[permission]


def require(session: Session, subject: Subject, project_id: str, permission: Permission) -> Project:
    """The project, if the subject may do this in it. Raises NotFound, or Forbidden for a member without the right."""
    project = session.get(Project, project_id)
    if project is None:
        raise NotFound("There is no such project.")
    if subject.is_administrator:
        return project
    role = role_of(session, subject.user_id, project_id)
    if role is None:
        raise NotFound("There is no such project.")
    if role not in _ALLOWED[permission]:
        raise Forbidden(f"Your role in this project is {role}, which does not allow this; ask its owner.")
    return project


def require_of(session: Session, subject: Subject, project_id: str | None, permission: Permission, what: str) -> None:
    """As `require`, for an object of a project: absent and foreign objects give the same sentence.

    project_id: None when the object does not exist. what: e.g. "data set".
    """
    missing = NotFound(f"There is no such {what}.")
    if project_id is None:
        raise missing
    try:
        require(session, subject, project_id, permission)
    except NotFound:
        raise missing from None
