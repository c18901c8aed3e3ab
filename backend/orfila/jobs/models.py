"""Tables of jobs. SQL is the truth; a Celery message is only a doorbell, which may be lost or ring twice.

A queued shard is its own outbox entry: `rung_at` says when the bell last rang for it. Moments that decide something
between processes are seconds since 1970 by the database's clock (see `leases.db_epoch`).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, Owned, id_column, now


class Job(Owned, Base):
    """Work outside the request: stages of shards, run one stage after the other."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_created", "created_at", "id"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16), index=True)
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(32), index=True)
    subject_name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    stage: Mapped[int] = mapped_column(default=0)
    n_stages: Mapped[int]
    phase: Mapped[str] = mapped_column(String(200), default="")
    progress: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None]
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    """From the start to the end, of a job that succeeded."""
    compute_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Of all workers, lost and failed attempts included: what the job has cost."""
    leases_lost: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often a shard was taken back from a silent worker."""
    cancel_requested_at: Mapped[datetime | None]


class JobNeed(Base):
    """A job that waits for another one."""

    __tablename__ = "job_needs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    needs_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True)


class Shard(Base):
    """A part of a job that one worker runs under a lease. `fence` grows with every claim; stale ones write nothing."""

    __tablename__ = "shards"
    __table_args__ = (
        UniqueConstraint("job_id", "stage", "number"),
        Index("ix_shards_queue", "state", "queue", "queued_at"),
    )

    id: Mapped[str] = id_column()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    stage: Mapped[int]
    number: Mapped[int]
    queue: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    fence: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    half_batch: Mapped[bool] = mapped_column(default=False)
    """Set after running out of memory: the next attempt takes half the batch."""
    worker: Mapped[str | None] = mapped_column(String(120))
    progress: Mapped[float] = mapped_column(default=0.0)
    weight: Mapped[float] = mapped_column(default=1.0, server_default="1")
    """Share of the job's time, as far as it could be foreseen."""
    queued_at: Mapped[float | None]
    """Database clock; not claimed before this moment (back-off lies in the future)."""
    rung_at: Mapped[float | None]
    lease_until: Mapped[float | None]
    claimed_at: Mapped[float | None]
    progress_at: Mapped[float | None]


class Worker(Base):
    """A worker process, as long as it says every few seconds that it is there. Moments are the database's."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    queues: Mapped[list[Any]]
    device: Mapped[str] = mapped_column(String(32))
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[float]
    seen_at: Mapped[float] = mapped_column(index=True)


class JobLog(Base):
    """A line of a job's log."""

    __tablename__ = "job_logs"
    __table_args__ = (Index("ix_job_logs_job", "job_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=now)
    level: Mapped[str] = mapped_column(String(8))
    message: Mapped[str]
