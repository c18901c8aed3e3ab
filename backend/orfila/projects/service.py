"""Rules of projects."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.db import Owned
from orfila.drills.models import Drill
from orfila.errors import Conflict, NotFound, Unprocessable
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.models.models import ClassifierModel
from orfila.projects import schemas
from orfila.projects.access import readable_projects, require, role_of
from orfila.projects.models import Membership, Project
from orfila.sweeps.models import Sweep

DEFAULT_NAME = "First project"
ROLES: tuple[schemas.Role, ...] = get_args(schemas.Role)
"""The strongest first."""


def ensure_default_project(session: Session, owner: User) -> Project:
    """A project to start in, so that nobody starts at an empty list."""
    project = session.scalar(select(Project).order_by(Project.created_at, Project.id).limit(1))
    return project or _create(session, DEFAULT_NAME, owner.id, "system")


def create(session: Session, subject: Subject, body: schemas.ProjectCreate) -> schemas.Project:
    """A new project, owned by its maker."""
    return _described(session, subject, _create(session, body.name, subject.user_id, subject.name))


def add_member(session: Session, project_id: str, user_id: str, role: str, actor: str = "system") -> None:
    """Let a person into a project, or give them another role in it. actor: name of who does it.

    Raises Unprocessable for an unknown role, NotFound for an unknown project.
    """
    if role not in ROLES:
        raise Unprocessable(f"The role '{role}' is not one of {', '.join(ROLES)}.")
    if session.get(Project, project_id) is None:
        raise NotFound("There is no such project.")
    membership = session.get(Membership, (project_id, user_id))
    detail = {"user": user_id, "name": session.get_one(User, user_id).name, "role": role}
    if membership is None:
        session.add(Membership(project_id=project_id, user_id=user_id, role=role))
        record(session, actor, "member.added", "project", project_id, project_id, detail)
    elif membership.role != role:
        detail["from"] = membership.role
        membership.role = role
        record(session, actor, "member.changed", "project", project_id, project_id, detail)


def roles_of(session: Session, user_id: str) -> list[tuple[str, str]]:
    """A person's projects, by name, and the role in each."""
    query = select(Project.name, Membership.role).join(Membership, Membership.project_id == Project.id)
    found = session.execute(query.where(Membership.user_id == user_id).order_by(Project.name))
    return [(name, role) for name, role in found]


def remove_member(session: Session, project_id: str, user_id: str, actor: str) -> None:
    """Take a person out of a project. What they judged stays."""
    membership = session.get_one(Membership, (project_id, user_id))
    detail = {"user": user_id, "name": session.get_one(User, user_id).name, "role": membership.role}
    session.delete(membership)
    record(session, actor, "member.removed", "project", project_id, project_id, detail)


def follow_groups(session: Session, actor: str, user_id: str, mapped: set[str], given: set[str]) -> None:
    """Give a person the roles of their groups at a provider, and take those of other mapped projects away.

    mapped, given: `PROJECT_ID:role` of all groups and of the person's; the strongest role in a project counts. Projects
    that are not there are passed over.
    """
    roles: dict[str, str] = {}
    for each in given:
        project_id, _, role = each.rpartition(":")
        if role in ROLES and (project_id not in roles or ROLES.index(role) < ROLES.index(roles[project_id])):
            roles[project_id] = role
    for project_id in {each.rpartition(":")[0] for each in mapped}:
        if session.get(Project, project_id) is None:
            continue
        if project_id in roles:
            add_member(session, project_id, user_id, roles[project_id], actor)
        elif session.get(Membership, (project_id, user_id)) is not None:
            remove_member(session, project_id, user_id, actor)


def list_members(session: Session, subject: Subject, project_id: str) -> list[schemas.Member]:
    """Who belongs to a project, by name."""
    require(session, subject, project_id, "read")
    query = select(Membership, User).join(User, User.id == Membership.user_id)
    found = session.execute(query.where(Membership.project_id == project_id).order_by(User.name))
    return [_member(membership, user) for membership, user in found]


def join(session: Session, subject: Subject, project_id: str, body: schemas.MemberAdd) -> schemas.Member:
    """Let a person who has an account into a project. Raises NotFound for a name that nobody has."""
    require(session, subject, project_id, "manage")
    user = session.scalar(select(User).where(User.name == body.name))
    if user is None:
        raise NotFound(f"Nobody here is called '{body.name}'; an administrator can invite them.")
    if session.get(Membership, (project_id, user.id)) is not None:
        raise Conflict(f"'{body.name}' belongs to this project; change the role instead.", code="member_already")
    add_member(session, project_id, user.id, body.role, subject.name)
    return _member(session.get_one(Membership, (project_id, user.id)), user)


def change_role(
    session: Session, subject: Subject, project_id: str, user_id: str, body: schemas.MemberChange
) -> schemas.Member:
    """Give a member another role. Raises Conflict where the project would have no owner."""
    membership = _membership(session, subject, project_id, user_id)
    if body.role != "owner":
        _require_other_owner(session, membership)
    add_member(session, project_id, user_id, body.role, subject.name)
    return _member(membership, session.get_one(User, user_id))


def leave(session: Session, subject: Subject, project_id: str, user_id: str) -> None:
    """Take a member out of a project. Raises Conflict where the project would have no owner."""
    membership = _membership(session, subject, project_id, user_id)
    _require_other_owner(session, membership)
    remove_member(session, project_id, user_id, subject.name)


def _membership(session: Session, subject: Subject, project_id: str, user_id: str) -> Membership:
    require(session, subject, project_id, "manage")
    membership = session.get(Membership, (project_id, user_id))
    if membership is None:
        raise NotFound("This person does not belong to the project.")
    return membership


def _require_other_owner(session: Session, membership: Membership) -> None:
    query = select(func.count()).where(
        Membership.project_id == membership.project_id,
        Membership.role == "owner",
        Membership.user_id != membership.user_id,
    )
    if membership.role == "owner" and not session.scalar(query):
        raise Conflict("A project needs an owner; make somebody else one first.", code="last_one")


def _member(membership: Membership, user: User) -> schemas.Member:
    return schemas.Member(
        user_id=user.id, name=user.name, email=user.email, role=membership.role, disabled=user.disabled_at is not None
    )


def list_projects(session: Session, subject: Subject) -> list[schemas.Project]:
    """The projects that the subject may see, oldest first."""
    query = select(Project).where(Project.id.in_(readable_projects(subject)))
    return [_described(session, subject, p) for p in session.scalars(query.order_by(Project.created_at, Project.id))]


def get(session: Session, subject: Subject, project_id: str) -> schemas.Project:
    """One project."""
    return _described(session, subject, require(session, subject, project_id, "read"))


def _create(session: Session, name: str, owner_id: str, actor: str) -> Project:
    project = Project(name=name)
    session.add(project)
    session.flush()
    session.add(Membership(project_id=project.id, user_id=owner_id, role="owner"))
    record(session, actor, "project.created", "project", project.id, project.id, {"name": name})
    return project


def _described(session: Session, subject: Subject, project: Project) -> schemas.Project:
    def count(table: type[Owned]) -> int:
        return session.scalar(select(func.count()).select_from(table).where(table.project_id == project.id)) or 0

    return schemas.Project(
        id=project.id,
        name=project.name,
        created_at=project.created_at,
        role=role_of(session, subject.user_id, project.id),
        n_datasets=count(Dataset),
        n_models=count(ClassifierModel),
        n_cases=count(Case),
        n_drills=count(Drill),
        n_sweeps=count(Sweep),
    )
