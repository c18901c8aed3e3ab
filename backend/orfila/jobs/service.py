"""Submitting jobs and reading them. What happens to a job later is in `lifecycle`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.db import now
from orfila.errors import Conflict, NotFound
from orfila.events.service import publish
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.jobs import presence, schemas
from orfila.jobs.contracts import Contract
from orfila.jobs.dispatch import want_ring
from orfila.jobs.leases import db_epoch
from orfila.jobs.models import Job, JobLog, JobNeed, Shard
from orfila.jobs.states import ACTIVE, move
from orfila.pagination import newest_first
from orfila.projects.access import Permission, readable_projects, require_of
from orfila.schema_base import Page

QUEUES: dict[str, str] = {
    "ingest": "ingest",
    "conversion": "ingest",
    "model_check": "cpu",
    "index": "gpu",
    "investigate": "interactive",
    "early_look": "cpu",
    "refit": "interactive",
    "remedy": "gpu",
    "drill": "gpu",
    "sweep": "gpu",
    "compare": "gpu",
    "map": "cpu",
    "check": "cpu",
}
"""Kind of job -> queue of its shards."""

_log = structlog.get_logger("orfila.jobs")
_ETA_FROM_PROGRESS = 0.03
SPLIT: dict[str, Any] = {"split": True}
"""Payload of the one shard that stands for a stage until the stage before has said which parts it has."""


class Stage(NamedTuple):
    """A stage of a job."""

    parts: Sequence[dict[str, Any]] = ({},)
    """The payload of each shard. (SPLIT,): the one result of the stage before has them in its field `split`."""
    weight: float = 1.0
    """Its share of the job's time, as far as it can be foreseen: what progress is counted by."""


def submit(
    session: Session,
    *,
    kind: schemas.JobKind,
    project_id: str,
    subject_kind: schemas.SubjectKind,
    subject_id: str,
    subject_name: str,
    spec: Contract,
    created_by: str,
    stages: Sequence[Stage] = (Stage(),),
    depends_on: Sequence[str] = (),
    queue: str | None = None,
) -> Job:
    """Add a job in the caller's transaction; the bell rings when that is committed.

    stages: a stage starts when the one before it has succeeded.
    depends_on: ids of jobs that must succeed first. created_by: id of a user. queue: by default that of the kind.
    Raises Conflict when one of those has failed or was cancelled: the new one would wait for ever.
    """
    states = {n: _state(session, n) for n in depends_on}
    if any(state in ("failed", "cancelled") for state in states.values()):
        raise Conflict("A job that this one needs has failed or was cancelled; run that one again first.")
    open_needs = [n for n, state in states.items() if state != "succeeded"]
    job = Job(
        project_id=project_id,
        kind=kind,
        state="waiting" if open_needs else "queued",
        subject_kind=subject_kind,
        subject_id=subject_id,
        subject_name=subject_name,
        spec=spec.model_dump(mode="json"),
        n_stages=len(stages),
        created_by=created_by,
    )
    session.add(job)
    session.flush()
    session.add_all(JobNeed(job_id=job.id, needs_id=n) for n in depends_on)
    for number, stage in enumerate(stages):
        _add_shards(session, job, number, stage, queue or QUEUES[kind])
    session.flush()
    log(session, job.id, "info", "submitted")
    _log.info("job submitted", job=job.id, kind=kind, subject=subject_id)
    if not open_needs:
        open_stage(session, job, 0)
    announce(session, job)
    return job


def open_stage(session: Session, job: Job, stage: int) -> None:
    """Queue the shards of a stage."""
    job.stage = stage
    of_stage = select(Shard).where(Shard.job_id == job.id, Shard.stage == stage).order_by(Shard.number)
    first = session.scalars(of_stage).first()
    if first is not None and first.payload == SPLIT:
        _split(session, job, first)
    for shard in session.scalars(of_stage):
        if shard.state == "blocked":
            queue(session, shard)


def _add_shards(session: Session, job: Job, number: int, stage: Stage, queue: str) -> None:
    for place, payload in enumerate(stage.parts):
        weight = stage.weight / len(stage.parts)
        session.add(
            Shard(
                job_id=job.id,
                stage=number,
                number=place,
                queue=queue,
                state="blocked",
                payload=dict(payload),
                weight=weight,
            )
        )


def _split(session: Session, job: Job, stand_in: Shard) -> None:
    """Put the parts that the stage before names in the place of their stand-in."""
    before = select(Shard.result).where(Shard.job_id == job.id, Shard.stage == stand_in.stage - 1)
    parts = (session.scalars(before).one() or {})["split"]
    assert parts, "a stage names the parts of the next one"
    session.delete(stand_in)
    session.flush()
    _add_shards(session, job, stand_in.stage, Stage(parts, stand_in.weight), stand_in.queue)
    session.flush()


def queue(session: Session, shard: Shard, delay: float = 0.0) -> None:
    """Queue a shard, to be claimed no sooner than `delay` seconds from now; without a delay the bell rings."""
    move(shard, "queued")
    at = session.scalar(select(db_epoch() + delay))
    shard.queued_at, shard.rung_at = at, None
    shard.worker, shard.lease_until = None, None
    if delay == 0:
        want_ring(session, shard)


def announce(session: Session, job: Job) -> None:
    """Publish where a job stands."""
    payload = {"kind": job.kind, "id": job.id, "state": job.state, "progress": job.progress, "phase": job.phase}
    publish(session, "job", payload | {f"{job.subject_kind}_id": job.subject_id}, job.project_id)


def log(session: Session, job_id: str, level: schemas.LogLevel, message: str) -> None:
    """Add a line to a job's log."""
    session.add(JobLog(job_id=job_id, level=level, message=message))


def is_active(session: Session, kind: schemas.JobKind, subject_id: str, *, besides: str = "") -> bool:
    """Whether a job of a kind about a thing is not over. besides: id of a job that does not count."""
    query = select(Job.id).where(
        Job.kind == kind, Job.subject_id == subject_id, Job.state.in_(ACTIVE), Job.id != besides
    )
    return session.scalar(query.limit(1)) is not None


def find(session: Session, subject: Subject, job_id: str, permission: Permission = "read") -> Job:
    """A job that the subject may see (or change); raises NotFound otherwise."""
    job = session.get(Job, job_id)
    require_of(session, subject, None if job is None else job.project_id, permission, "job")
    assert job is not None
    return job


def list_jobs(
    session: Session,
    subject: Subject,
    project_id: str | None,
    state: str | None,
    active: bool | None,
    cursor: str | None,
    limit: int,
) -> Page[schemas.Job]:
    """A page of jobs, newest first."""
    query = select(Job).where(Job.project_id.in_(readable_projects(subject)))
    if project_id is not None:
        query = query.where(Job.project_id == project_id)
    if state is not None:
        query = query.where(Job.state == state)
    if active is not None:
        query = query.where(Job.state.in_(ACTIVE) if active else Job.state.not_in(ACTIVE))
    rows, next_cursor = newest_first(session, query, Job, cursor, limit)
    return Page(items=[described(session, j) for j in rows], next_cursor=next_cursor)


def list_workers(session: Session, subject: Subject) -> list[schemas.Worker]:
    """The workers that are there; what they work on only where the subject may see it."""
    found = presence.alive(session)
    ids = [worker.job_id for worker in found if worker.job_id is not None]
    visible = set(
        session.scalars(select(Job.id).where(Job.id.in_(ids), Job.project_id.in_(readable_projects(subject))))
    )
    return [w if w.job_id in visible else w.model_copy(update={"job_id": None}) for w in found]


def described(session: Session, job: Job) -> schemas.Job:
    """A job as clients see it."""
    return schemas.Job(**_fields(session, job))


def detailed(session: Session, job: Job) -> schemas.JobDetail:
    """A job with its shards."""
    shards = session.scalars(select(Shard).where(Shard.job_id == job.id).order_by(Shard.stage, Shard.number))
    needs = session.scalars(select(JobNeed.needs_id).where(JobNeed.job_id == job.id))
    return schemas.JobDetail(
        **_fields(session, job), shards=[schemas.Shard.model_validate(s) for s in shards], depends_on=list(needs)
    )


def log_lines(session: Session, job_id: str, after: int, limit: int) -> list[schemas.LogLine]:
    """Lines of a job's log after an id, oldest first."""
    query = select(JobLog).where(JobLog.job_id == job_id, JobLog.id > after).order_by(JobLog.id).limit(limit)
    return [schemas.LogLine.model_validate(line) for line in session.scalars(query)]


def _state(session: Session, job_id: str) -> str:
    state = session.scalar(select(Job.state).where(Job.id == job_id))
    if state is None:
        raise NotFound("A job that this one needs does not exist.")
    return state


def _fields(session: Session, job: Job) -> dict[str, Any]:
    attempts = session.scalar(select(func.max(Shard.attempts)).where(Shard.job_id == job.id)) or 0
    return {
        "id": job.id,
        "project_id": job.project_id,
        "kind": job.kind,
        "state": job.state,
        "subject": schemas.JobSubject.model_validate(
            {"kind": job.subject_kind, "id": job.subject_id, "name": job.subject_name}
        ),
        "phase": job.phase,
        "progress": job.progress,
        "seconds_left": _seconds_left(job),
        "queue_position": _queue_position(session, job),
        "error": job.error,
        "attempts": attempts,
        "created_by": session.scalar(select(User.name).where(User.id == job.created_by)) or "",
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "cancel_requested_at": job.cancel_requested_at,
        "compute_seconds": job.compute_seconds,
        "leases_lost": job.leases_lost,
    }


def _seconds_left(job: Job) -> float | None:
    """By the pace so far; no guess before there is a pace."""
    if job.state != "running" or job.started_at is None or job.progress < _ETA_FROM_PROGRESS:
        return None
    elapsed = (now() - job.started_at).total_seconds()
    return elapsed * (1 - job.progress) / job.progress


def _queue_position(session: Session, job: Job) -> int | None:
    """How many shards are claimed before this job's first one, plus one; None when it is not queued."""
    if job.state != "queued":
        return None
    first = session.execute(
        select(Shard.queue, Shard.queued_at)
        .where(Shard.job_id == job.id, Shard.state == "queued")
        .order_by(Shard.queued_at)
        .limit(1)
    ).one_or_none()
    if first is None:
        return None
    before = select(func.count()).where(
        Shard.state == "queued", Shard.queue == first.queue, Shard.queued_at < first.queued_at, Shard.job_id != job.id
    )
    return (session.scalar(before) or 0) + 1
