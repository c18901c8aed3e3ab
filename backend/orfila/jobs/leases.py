"""Claims, leases and fences: who runs a shard, until when, and whose results count.

A claim raises the shard's fence. Everything that a worker writes afterwards is conditional on that fence, so a worker
that was taken for dead (a "zombie") can finish its work, but not commit it. All times come from the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, case, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from orfila.db import now
from orfila.jobs.models import Job, Shard


class LostLease(Exception):
    """The shard is another worker's by now, or its job is over: stop, and write nothing."""


class db_epoch(GenericFunction[float]):  # noqa: N801 - an SQL function
    """Seconds since 1970 by the database's clock, at this statement."""

    type = Float()
    inherit_cache = True


@compiles(db_epoch, "sqlite")
def _sqlite(element: db_epoch, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_epoch)
def _postgresql(element: db_epoch, compiler: SQLCompiler, **kw: Any) -> str:
    return "extract(epoch from clock_timestamp())::float8"


@dataclass(frozen=True)
class Claim:
    """A shard in this worker's hands."""

    shard_id: str
    job_id: str
    fence: int
    attempts: int


def claim(session: Session, queues: list[str], worker: str, lease_seconds: float) -> Claim | None:
    """Take the shard that has waited longest in these queues; None when there is none.

    The job's row is locked first, here and everywhere, so that claims, ends and cancellations of one job take turns
    instead of deadlocking; one statement then takes the shard, so two workers never hold the same one.
    """
    due = (Shard.state == "queued", Shard.queue.in_(queues), Shard.queued_at <= db_epoch())
    oldest = select(Shard.job_id).where(*due).order_by(Shard.queued_at, Shard.number).limit(1)
    while (job_id := session.scalar(oldest)) is not None:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        first = select(Shard.id).where(Shard.job_id == job_id, *due).order_by(Shard.queued_at, Shard.number).limit(1)
        row = session.execute(
            update(Shard)
            .where(Shard.id == first.with_for_update(skip_locked=True).scalar_subquery(), Shard.state == "queued")
            .values(
                state="running",
                fence=Shard.fence + 1,
                attempts=Shard.attempts + 1,
                worker=worker,
                lease_until=db_epoch() + lease_seconds,
                claimed_at=db_epoch(),
                progress_at=db_epoch(),
                progress=0.0,
            )
            .returning(Shard.id, Shard.job_id, Shard.fence, Shard.attempts)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if job is None or row is None:
            continue  # another worker took the last one while we waited for the job
        if job.state == "queued":
            job.state = "running"
        job.started_at = job.started_at or now()
        return Claim(row.id, row.job_id, row.fence, row.attempts)
    return None


def renew(session: Session, claim: Claim, lease_seconds: float, progress: float) -> bool:
    """Renew a lease and report progress in 0..1. Returns whether the job is to be cancelled.

    Raises LostLease when the shard is not this claim's any more.
    """
    found = session.execute(
        update(Shard)
        .where(Shard.id == claim.shard_id, Shard.fence == claim.fence, Shard.state == "running")
        .values(
            lease_until=db_epoch() + lease_seconds,
            progress_at=case((Shard.progress != progress, db_epoch()), else_=Shard.progress_at),
            progress=progress,
        )
        .returning(Shard.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if found is None:
        raise LostLease
    return session.scalar(select(Job.cancel_requested_at).where(Job.id == claim.job_id)) is not None


def held(session: Session, claim: Claim) -> tuple[Job, Shard]:
    """The job and shard of a claim, locked. Raises LostLease when the shard is another claim's by now."""
    job = session.scalar(select(Job).where(Job.id == claim.job_id).with_for_update())
    shard = session.scalar(
        select(Shard)
        .where(Shard.id == claim.shard_id, Shard.fence == claim.fence, Shard.state == "running")
        .with_for_update()
    )
    if job is None or shard is None:
        raise LostLease
    return job, shard
