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
