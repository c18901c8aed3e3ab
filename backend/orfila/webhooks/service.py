"""Rules of webhooks: owners set them up; entries of the audit trail become deliveries."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.audit.models import AuditEvent
from orfila.audit.service import record
from orfila.errors import Forbidden
from orfila.identity.subject import Subject
from orfila.jobs.leases import db_epoch
from orfila.projects.access import require, require_of
from orfila.settings import Settings
from orfila.webhooks import schemas
from orfila.webhooks.models import Delivery, Webhook

LISTED = 100
_READ_AT_ONCE = 500


def list_webhooks(session: Session, subject: Subject, project_id: str) -> list[schemas.Webhook]:
    """The webhooks of a project."""
    require(session, subject, project_id, "manage")
    query = select(Webhook).where(Webhook.project_id == project_id).order_by(Webhook.created_at, Webhook.id)
    return [schemas.Webhook.model_validate(row) for row in session.scalars(query)]


def create(
    session: Session, subject: Subject, settings: Settings, project_id: str, body: schemas.WebhookCreate
) -> schemas.WebhookCreated:
    """A new webhook. Raises Forbidden where the installation sends none."""
    require(session, subject, project_id, "manage")
    if not settings.webhooks:
        raise Forbidden("This installation sends no webhooks; its administrator sets ORFILA_WEBHOOKS=true.", code="off")
    row = Webhook(
        project_id=project_id,
        url=body.url,
        secret=secrets.token_urlsafe(32),
        events=sorted(set(body.events), key=schemas.EVENTS.index),
        last_event_id=session.scalar(select(func.max(AuditEvent.id))) or 0,
    )
    session.add(row)
    session.flush()
    detail = {"url": row.url, "events": row.events}
    record(session, subject.name, "webhook.created", "webhook", row.id, project_id, detail)
    return schemas.WebhookCreated(**schemas.Webhook.model_validate(row).model_dump(), secret=row.secret)


def change(session: Session, subject: Subject, webhook_id: str, body: schemas.WebhookChange) -> schemas.Webhook:
    """Change a webhook. Events that happen while it is not active are not sent later."""
    row = _find(session, subject, webhook_id)
    asked = body.model_dump(exclude_none=True)
    if body.active and not row.active:
        row.last_event_id = session.scalar(select(func.max(AuditEvent.id))) or 0
    for name, value in asked.items():
        setattr(row, name, value)
    if asked:
        record(session, subject.name, "webhook.changed", "webhook", row.id, row.project_id, asked)
    return schemas.Webhook.model_validate(row)


def delete(session: Session, subject: Subject, webhook_id: str) -> None:
    """Remove a webhook and the record of what was sent to it."""
    row = _find(session, subject, webhook_id)
    record(session, subject.name, "webhook.deleted", "webhook", row.id, row.project_id, {"url": row.url})
    session.delete(row)


def list_deliveries(session: Session, subject: Subject, webhook_id: str) -> list[schemas.Delivery]:
    """The last deliveries to a webhook, the newest first."""
    _find(session, subject, webhook_id)
    query = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(LISTED)
    return [schemas.Delivery.model_validate(row) for row in session.scalars(query)]


def ping(session: Session, subject: Subject, webhook_id: str) -> schemas.Delivery:
    """Send something to a webhook, to see that it arrives."""
    row = _find(session, subject, webhook_id)
    made = Delivery(
        webhook_id=row.id,
        event="ping",
        payload={"event": "ping", "project_id": row.project_id, "actor": subject.name},
        due_at=session.scalar(select(db_epoch())) or 0.0,
    )
    session.add(made)
    session.flush()
    return schemas.Delivery.model_validate(made)


def collect(session: Session) -> int:
    """Make deliveries of what the audit trail has since each webhook looked last; how many."""
    newest = session.scalar(select(func.max(AuditEvent.id))) or 0
    behind = select(Webhook).where(Webhook.active, Webhook.last_event_id < newest).with_for_update(skip_locked=True)
    n, at = 0, session.scalar(select(db_epoch())) or 0.0
    for hook in session.scalars(behind):
        query = (
            select(AuditEvent)
            .where(
                AuditEvent.id > hook.last_event_id,
                AuditEvent.id <= newest,
                AuditEvent.project_id == hook.project_id,
                AuditEvent.action.in_(hook.events),
            )
            .order_by(AuditEvent.id)
            .limit(_READ_AT_ONCE)
        )
        found = list(session.scalars(query))
        session.add_all(
            Delivery(webhook_id=hook.id, event=each.action, payload=_payload(each), due_at=at) for each in found
        )
        hook.last_event_id = found[-1].id if len(found) == _READ_AT_ONCE else newest
        n += len(found)
    return n


def _payload(event: AuditEvent) -> dict[str, Any]:
    return {
        "event": event.action,
        "audit_id": event.id,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "project_id": event.project_id,
        "case_id": event.case_id,
        "subject": {"kind": event.subject_kind, "id": event.subject_id},
        "detail": event.detail,
    }


def _find(session: Session, subject: Subject, webhook_id: str) -> Webhook:
    row = session.get(Webhook, webhook_id)
    require_of(session, subject, row.project_id if row else None, "manage", "webhook")
    assert row is not None, "require_of raises for an absent object"
    return row
