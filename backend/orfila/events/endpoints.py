"""HTTP of news: server-sent events, replayed after the last one that a browser saw."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from orfila.db import Database
from orfila.events import service
from orfila.events.models import Event
from orfila.identity.subject import Subject
from orfila.projects.access import readable_projects
from orfila.web.dependencies import DatabaseDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["events"])

POLL_SECONDS = 0.2
MAX_SECONDS = 600.0
"""A stream ends after this, so that a browser comes back and shows again that it is signed in."""


@router.get("/events", response_class=EventSourceResponse)
async def stream_events(
    database: DatabaseDep,
    subject: SubjectDep,
    last_event_id: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, lt=2**63)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """News of the projects that one may see, as they happen.

    `event` is the topic (dataset, model, case, verdicts, remedy, job, upload); `data` is JSON with kind, id, project_id
    and, where they apply, case_id, state, progress, phase. Without Last-Event-ID the stream starts now.
    """
    position = await to_thread.run_sync(_newest, database) if last_event_id is None else last_event_id
    # Tells the browser that the stream stands, and where, so that a cut right after it loses nothing.
    yield ServerSentEvent(event="open", id=str(position), raw_data="{}", retry=1000)
    end = anyio.current_time() + MAX_SECONDS
    while anyio.current_time() < end:
        position, events = await to_thread.run_sync(_read, database, subject, position)
        for event in events:
            yield ServerSentEvent(event=event.topic, id=str(event.id), data=event.payload)
        if not events:
            await anyio.sleep(POLL_SECONDS)


def _newest(database: Database) -> int:
    with database.reading() as session:
        return service.latest_id(session)


def _read(database: Database, subject: Subject, position: int) -> tuple[int, list[Event]]:
    """The next events for a subject, and where to go on; foreign projects' events move the position as well."""
    with database.reading() as session:
        events = service.after(session, position)
        if not events:
            return position, []
        allowed = set(session.scalars(readable_projects(subject)))
    return events[-1].id, [e for e in events if e.project_id in allowed]
