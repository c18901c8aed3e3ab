"""The sweeper: rings again for queued shards, takes back what dead workers held, tidies up. Any number may run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orfila.db import Database
from orfila.events import service as events
from orfila.jobs import lifecycle, presence
from orfila.jobs.dispatch import Doorbell, ring_after_commits
from orfila.jobs.leases import db_epoch
from orfila.jobs.models import Shard
from orfila.settings import Settings
from orfila.uploads import service as uploads

READY_VARIABLE = "ORFILA_READY_FILE"
"""Names a file that is touched in every round, for whoever watches over this process."""
RING_AGAIN_SECONDS = 5.0
TIDY_SECONDS = 60.0
_log = structlog.get_logger("orfila.sweeper")


def sweep(session: Session, settings: Settings) -> list[str]:
    """One round. Returns the queues to ring for, once it is committed."""
    taken = lifecycle.take_back_lost(session, settings.max_attempts, settings.stall_seconds)
    if taken:
        _log.warning("took back shards of silent workers", count=taken)
    session.flush()
    due = session.execute(
        update(Shard)
        .where(
            Shard.state == "queued",
            Shard.queued_at <= db_epoch(),
            (Shard.rung_at.is_(None)) | (Shard.rung_at < db_epoch() - RING_AGAIN_SECONDS),
        )
        .values(rung_at=db_epoch())
        .returning(Shard.queue)
        .execution_options(synchronize_session=False)
    )
    return [row.queue for row in due]


def needs_sweeping(session: Session) -> bool:
    """Whether any shard is queued or running; an idle installation is not written to."""
    return session.scalar(select(Shard.id).where(Shard.state.in_(("queued", "running"))).limit(1)) is not None


def run(settings: Settings, stop: threading.Event) -> None:
    """Sweep until told to stop. A database or broker that is away for a while is waited for."""
    database = Database(settings.resolved_database_url)
    doorbell = Doorbell(settings)
    ring_after_commits(database, doorbell)
    ready = os.environ.get(READY_VARIABLE)
    tidied = 0.0
    while not stop.wait(settings.sweep_seconds):
        try:
            if ready is not None:
                Path(ready).touch()
            with database.reading() as session:
                busy = needs_sweeping(session)
            if busy:
                with database.transaction() as session:
                    queues = sweep(session, settings)
                for queue in queues:
                    doorbell.ring(queue)
            if time.monotonic() - tidied > TIDY_SECONDS:
                tidied = time.monotonic()
                with database.transaction() as session:
                    uploads.expire(session, settings)
                    events.prune(session)
                    presence.prune(session)
        except Exception:
            _log.exception("this round failed; trying again")
    database.dispose()
