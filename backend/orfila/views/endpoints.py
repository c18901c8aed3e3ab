"""HTTP of saved views."""

from fastapi import APIRouter

from orfila.views import schemas, service
from orfila.web.dependencies import SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["views"])


@router.get("/projects/{project_id}/views")
def list_views(project_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.SavedView]:
    """One's own saved views of a project, and those that other members share."""
    return service.list_views(session, subject, project_id)


@router.post("/projects/{project_id}/views")
def save_view(project_id: str, body: schemas.ViewSave, session: SessionDep, subject: SubjectDep) -> schemas.SavedView:
    """Keep a view of the evidence under a name; sent again, it replaces the same one."""
    return service.save(session, subject, project_id, body)


@router.delete("/views/{view_id}", status_code=204)
def delete_view(view_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Forget one's own saved view."""
    service.delete(session, subject, view_id)
