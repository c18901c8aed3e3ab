"""HTTP of webhooks."""

from fastapi import APIRouter

from orfila.web.dependencies import SessionDep, SettingsDep, SubjectDep
from orfila.webhooks import schemas, service

router = APIRouter(prefix="/api/v1", tags=["webhooks"])


@router.get("/projects/{project_id}/webhooks")
def list_webhooks(project_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Webhook]:
    """The webhooks of a project, for its owners."""
    return service.list_webhooks(session, subject, project_id)


@router.post("/projects/{project_id}/webhooks", status_code=201)
def create_webhook(
    project_id: str, body: schemas.WebhookCreate, session: SessionDep, subject: SubjectDep, settings: SettingsDep
) -> schemas.WebhookCreated:
    """Tell an address of a project's events. The secret that signs them is shown in this answer only."""
    return service.create(session, subject, settings, project_id, body)


@router.patch("/webhooks/{webhook_id}")
def change_webhook(
    webhook_id: str, body: schemas.WebhookChange, session: SessionDep, subject: SubjectDep
) -> schemas.Webhook:
    """Change a webhook's address or events, stop it for a while or let it go on."""
    return service.change(session, subject, webhook_id, body)


@router.delete("/webhooks/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Remove a webhook."""
    service.delete(session, subject, webhook_id)


@router.get("/webhooks/{webhook_id}/deliveries")
def list_deliveries(webhook_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Delivery]:
    """The last deliveries to a webhook, the newest first."""
    return service.list_deliveries(session, subject, webhook_id)


@router.post("/webhooks/{webhook_id}/ping", status_code=201)
def ping_webhook(webhook_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Delivery:
    """Send something to a webhook, to see that it arrives."""
    return service.ping(session, subject, webhook_id)
