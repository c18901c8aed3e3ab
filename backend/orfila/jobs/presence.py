"""Which workers are there: each says so every few seconds, by the database's clock, whether it has work or not."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from orfila import __version__
from orfila.jobs import schemas
from orfila.jobs.leases import db_epoch
from orfila.jobs.models import Shard, Worker

BEAT_SECONDS = 5.0
ALIVE_SECONDS = 20.0
"""A worker that was silent for longer is not counted on."""
_FORGET_SECONDS = 24 * 3600.0


def seen(session: Session, name: str, queues: Sequence[str], device: str) -> None:
    """A worker is there."""
    renewed = session.execute(
        update(Worker).where(Worker.name == name).values(seen_at=db_epoch()).returning(Worker.name)
    )
    if renewed.first() is None:
        at = session.scalar(select(db_epoch()))
        session.add(
            Worker(name=name, queues=list(queues), device=device, version=__version__, started_at=at, seen_at=at)
        )


def gone(session: Session, name: str) -> None:
    """A worker has stopped."""
    session.execute(delete(Worker).where(Worker.name == name))


def alive(session: Session) -> list[schemas.Worker]:
    """The workers that are there, and what each of them runs."""
    moment = session.scalar(select(db_epoch())) or 0.0
    rows = session.scalars(select(Worker).where(Worker.seen_at > moment - ALIVE_SECONDS).order_by(Worker.name))
    running = {
        row.worker: row.job_id
        for row in session.execute(select(Shard.worker, Shard.job_id).where(Shard.state == "running"))
    }
    return [
        schemas.Worker(
            name=row.name,
            queues=row.queues,
            device=row.device,
            version=row.version,
            seconds_up=moment - row.started_at,
            seconds_silent=moment - row.seen_at,
            job_id=running.get(row.name),
        )
        for row in rows
    ]


def queues_served(session: Session) -> set[str]:
    """The queues that some worker looks at."""
    return {queue for worker in alive(session) for queue in worker.queues}


def prune(session: Session) -> None:
    """Forget workers that were not heard of for a day."""
    session.execute(delete(Worker).where(Worker.seen_at < db_epoch() - _FORGET_SECONDS))
