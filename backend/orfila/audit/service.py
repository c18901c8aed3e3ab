"""The audit trail: who did what, when, in a chain in which every link covers the one before it.

hash = SHA-256 of the canonical JSON of (previous hash, time, actor, action, subject, project, case, detail). Changing,
reordering or removing an event breaks every later link. What a chain alone cannot show is a cut at its end, so `check`
returns the head: whoever wrote it down earlier can compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila.audit import schemas
from orfila.audit.models import AuditEvent
from orfila.db import now
from orfila.errors import Forbidden, Unprocessable
from orfila.identity.subject import Subject
from orfila.pagination import decode_cursor, encode_cursor
from orfila.projects.access import readable_projects
from orfila.schema_base import Page

_EXPORTED = (
    "id", "at", "actor", "action", "subject_kind", "subject_id", "project_id", "case_id", "detail", "previous_hash",
    "hash",
)  # fmt: skip
GENESIS = "0" * 64
"""What the first event follows."""


def record(
    session: Session,
    actor: str,
    action: str,
    subject_kind: str,
    subject_id: str,
    project_id: str | None,
    detail: dict[str, Any],
    *,
    case_id: str | None = None,
) -> AuditEvent:
    """Append an event in the caller's transaction.

    actor: name of the user, or of the part of the system. action: e.g. `case.created`. detail: plain JSON.
    """
    session.flush()  # events of this transaction that are not written yet come first
    previous = session.scalar(select(AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)) or GENESIS
    at = now()
    event = AuditEvent(
        # Milliseconds, which every database keeps alike: the hash must be the same when read back.
        at=at.replace(microsecond=at.microsecond // 1000 * 1000),
        actor=actor,
        action=action,
        subject_kind=subject_kind,
        subject_id=subject_id,
        project_id=project_id,
        case_id=case_id,
        detail=json.loads(json.dumps(detail)),
        previous_hash=previous,
    )
    event.hash = compute_hash(event)
    session.add(event)
    session.flush()
    return event


def compute_hash(event: AuditEvent) -> str:
    """The hash that an event must have."""
    fields = [
        event.previous_hash,
        event.at.isoformat(timespec="milliseconds"),
        event.actor,
        event.action,
        event.subject_kind,
        event.subject_id,
        event.project_id,
        event.case_id,
        event.detail,
    ]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def list_events(
    session: Session,
    subject: Subject,
    project_id: str | None,
    subject_id: str | None,
    case_id: str | None,
    cursor: str | None,
    limit: int,
    *,
    actor: str | None = None,
    kind: str | None = None,
    blind_cases: Collection[str] = (),
) -> Page[schemas.AuditEvent]:
    """A page of events that the subject may see, newest first. Events of no project are for administrators.

    kind: what stands before the point of an action, e.g. `verdicts`.
    blind_cases: cases that the subject still judges blind; of these, others' events are left out.
    """
    query = select(AuditEvent)
    if blind_cases:
        foreign = AuditEvent.case_id.in_(blind_cases) & (AuditEvent.actor != subject.name)
        query = query.where(AuditEvent.case_id.is_(None) | ~foreign)
    if not subject.is_administrator:
        query = query.where(AuditEvent.project_id.in_(readable_projects(subject)))
    if project_id is not None:
        query = query.where(AuditEvent.project_id == project_id)
    if subject_id is not None:
        query = query.where(AuditEvent.subject_id == subject_id)
    if case_id is not None:
        query = query.where(AuditEvent.case_id == case_id)
    if actor is not None:
        query = query.where(AuditEvent.actor == actor)
    if kind is not None:
        query = query.where(AuditEvent.action.startswith(f"{kind}.", autoescape=True))
    if cursor is not None:
        query = query.where(AuditEvent.id < decode_cursor(cursor, (int,))[0])
    rows = list(session.scalars(query.order_by(AuditEvent.id.desc()).limit(limit + 1)))
    next_cursor = encode_cursor([rows[limit - 1].id]) if len(rows) > limit else None
    return Page(items=[schemas.AuditEvent.model_validate(r) for r in rows[:limit]], next_cursor=next_cursor)


def check(session: Session) -> schemas.ChainCheck:
    """Walk the whole chain and say where it breaks first."""
    return check_events(_everything(session))


def export(session: Session, *, case_id: str | None = None) -> Iterator[str]:
    """The whole chain as lines of JSON, oldest first: what `read_exported` reads and `check_events` can check.

    case_id: only the events of one case, which are no whole chain.
    """
    for event in _everything(session):
        if case_id is not None and event.case_id != case_id:
            continue
        fields = {name: getattr(event, name) for name in _EXPORTED}
        yield json.dumps(fields | {"at": event.at.isoformat(timespec="milliseconds")}) + "\n"


def read_exported(lines: Iterable[str]) -> Iterator[AuditEvent]:
    """The events of an exported chain. Raises Unprocessable for a line that is none of it."""
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            yield AuditEvent(
                **{name: fields[name] for name in _EXPORTED} | {"at": datetime.fromisoformat(fields["at"])}
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Unprocessable(f"Line {number} is no event of an exported audit trail.") from error


def require_administrator(subject: Subject) -> None:
    """Refuse everybody else: the whole chain tells of all projects."""
    if not subject.is_administrator:
        raise Forbidden("The whole trail tells of all projects; ask an administrator.", code="administrators_only")


def _everything(session: Session) -> Iterable[AuditEvent]:
    return session.scalars(select(AuditEvent).order_by(AuditEvent.id).execution_options(yield_per=1000))


def check_events(events: Iterable[AuditEvent]) -> schemas.ChainCheck:
    """Walk a chain from its first event and say where it breaks first."""
    previous, count, broken = GENESIS, 0, None
    for event in events:
        count += 1
        if broken is None and (event.previous_hash != previous or compute_hash(event) != event.hash):
            broken = event.id
        previous = event.hash
    return schemas.ChainCheck(ok=broken is None, n_events=count, first_broken_id=broken, head=previous)
