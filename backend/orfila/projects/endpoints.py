"""HTTP of projects."""

from fastapi import APIRouter

from orfila.projects import schemas, service
from orfila.web.dependencies import SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["projects"])


@router.get("/projects")
def list_projects(session: SessionDep, subject: SubjectDep) -> list[schemas.Project]:
    """The projects that one may see."""
    return service.list_projects(session, subject)


@router.post("/projects", status_code=201)
def create_project(body: schemas.ProjectCreate, session: SessionDep, subject: SubjectDep) -> schemas.Project:
    """A new project, owned by its maker."""
    return service.create(session, subject, body)


@router.get("/projects/{project_id}")
def get_project(project_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Project:
    """One project."""
    return service.get(session, subject, project_id)


@router.get("/projects/{project_id}/members")
def list_members(project_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Member]:
    """Who belongs to a project, and as what."""
    return service.list_members(session, subject, project_id)


@router.post("/projects/{project_id}/members", status_code=201)
def add_member(project_id: str, body: schemas.MemberAdd, session: SessionDep, subject: SubjectDep) -> schemas.Member:
    """Let a person who has an account into a project."""
    return service.join(session, subject, project_id, body)


@router.patch("/projects/{project_id}/members/{user_id}")
def change_member(
    project_id: str, user_id: str, body: schemas.MemberChange, session: SessionDep, subject: SubjectDep
) -> schemas.Member:
    """Give a member another role."""
    return service.change_role(session, subject, project_id, user_id, body)


@router.delete("/projects/{project_id}/members/{user_id}", status_code=204)
def remove_member(project_id: str, user_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Take a person out of a project. What they judged stays."""
    service.leave(session, subject, project_id, user_id)
