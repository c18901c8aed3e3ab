"""Rules of projects."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.db import Owned
from orfila.drills.models import Drill
from orfila.errors import NotFound, Unprocessable
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.models.models import ClassifierModel
from orfila.projects import schemas
from orfila.projects.access import ROLES, readable_projects, require
from orfila.projects.models import Membership, Project
from orfila.sweeps.models import Sweep

DEFAULT_NAME = "First project"


def ensure_default_project(session: Session, owner: User) -> Project:
    """A project to start in, so that nobody starts at an empty list."""
    project = session.scalar(select(Project).order_by(Project.created_at, Project.id).limit(1))
    return project or _create(session, DEFAULT_NAME, owner.id, "system")


def create(session: Session, subject: Subject, body: schemas.ProjectCreate) -> schemas.Project:
    """A new project, owned by its maker."""
    return _described(session, _create(session, body.name, subject.user_id, subject.name))


def add_member(session: Session, project_id: str, user_id: str, role: str) -> None:
    """Let a person into a project. Raises Unprocessable for an unknown role, NotFound for an unknown project."""
    if role not in ROLES:
        raise Unprocessable(f"The role '{role}' is not one of {', '.join(ROLES)}.")
    if session.get(Project, project_id) is None:
        raise NotFound("There is no such project.")
    session.add(Membership(project_id=project_id, user_id=user_id, role=role))
    record(session, "system", "member.added", "project", project_id, project_id, {"user": user_id, "role": role})


def list_projects(session: Session, subject: Subject) -> list[schemas.Project]:
    """The projects that the subject may see, oldest first."""
    query = select(Project).where(Project.id.in_(readable_projects(subject)))
    return [_described(session, p) for p in session.scalars(query.order_by(Project.created_at, Project.id))]


def get(session: Session, subject: Subject, project_id: str) -> schemas.Project:
    """One project."""
    return _described(session, require(session, subject, project_id, "read"))


def _create(session: Session, name: str, owner_id: str, actor: str) -> Project:
    project = Project(name=name)
    session.add(project)
    session.flush()
    session.add(Membership(project_id=project.id, user_id=owner_id, role="owner"))
    record(session, actor, "project.created", "project", project.id, project.id, {"name": name})
    return project


def _described(session: Session, project: Project) -> schemas.Project:
    def count(table: type[Owned]) -> int:
        return session.scalar(select(func.count()).select_from(table).where(table.project_id == project.id)) or 0

    return schemas.Project(
        id=project.id,
        name=project.name,
        created_at=project.created_at,
        n_datasets=count(Dataset),
        n_models=count(ClassifierModel),
        n_cases=count(Case),
        n_drills=count(Drill),
        n_sweeps=count(Sweep),
    )
