"""What becomes of a job: progress, success, failure, retry, cancellation. Each function is one step of one transaction.

The domain (data set, model, case, remedy) follows in the same transaction through `orfila.outcomes`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from orfila import outcomes
from orfila.db import now
from orfila.errors import Conflict
from orfila.jobs import leases, service
from orfila.jobs.leases import Claim, LostLease, db_epoch
from orfila.jobs.models import Job, JobNeed, Shard
from orfila.jobs.states import ACTIVE, move
from orfila.storage import BlobStore

BACKOFF_SECONDS = 1.0
"""Pause before the second attempt; it doubles with each further one."""


def report(session: Session, claim: Claim, lease_seconds: float, progress: float, phase: str) -> bool:
    """Renew a claim's lease and show its progress. Returns whether to cancel. Raises LostLease."""
    job = session.scalar(select(Job).where(Job.id == claim.job_id).with_for_update())
    cancel = leases.renew(session, claim, lease_seconds, progress)
    assert job is not None, "a shard that could be renewed has a job"
    whole, done = session.execute(
        select(func.sum(Shard.weight), func.sum(Shard.weight * Shard.progress)).where(Shard.job_id == claim.job_id)
    ).one()
    share = min(1.0, done / whole)
    if phase != job.phase or abs(share - job.progress) >= 0.002:
        job.phase, job.progress = phase, share
        service.announce(session, job)
    return cancel


def finish(session: Session, store: BlobStore, claim: Claim, result: dict[str, Any]) -> None:
    """Commit a shard's result; the last one of the last stage completes the job. Raises LostLease for a stale claim."""
    job, shard = leases.held(session, claim)
    _charge(session, job, shard)
    move(shard, "succeeded")
    shard.result, shard.progress, shard.lease_until = result, 1.0, None
    session.flush()
    left = session.scalar(
        select(func.count()).where(Shard.job_id == job.id, Shard.stage == shard.stage, Shard.state != "succeeded")
    )
    if job.state == "cancelling" and (left or shard.stage + 1 < job.n_stages):
        _cancelled_when_idle(session, job)
    elif left:
        outcomes.OUTCOMES[job.kind].advanced(session, job)
    elif shard.stage + 1 < job.n_stages:
        service.open_stage(session, job, shard.stage + 1)
    else:
        move(job, "succeeded")
        job.result, job.progress, job.phase, job.finished_at = result, 1.0, "done", now()
        job.seconds = (job.finished_at - (job.started_at or job.finished_at)).total_seconds()
        service.log(session, job.id, "info", "succeeded")
        outcomes.OUTCOMES[job.kind].succeeded(session, store, job, result)
        service.announce(session, job)
        _release_dependents(session, job)


def fail(
    session: Session, claim: Claim, sentence: str, *, retry: bool, max_attempts: int, half_batch: bool = False
) -> None:
    """A shard failed. retry: the cause may pass, so try again with a growing pause until attempts run out.

    half_batch: it ran out of memory; the next attempt takes half the batch. Raises LostLease for a stale claim.
    """
    job, shard = leases.held(session, claim)
    _charge(session, job, shard)
    service.log(session, job.id, "error" if not retry else "warning", sentence)
    if job.state == "cancelling":
        _shard_cancelled(shard)
        _cancelled_when_idle(session, job)
    elif retry and shard.attempts < max_attempts:
        shard.half_batch = shard.half_batch or half_batch
        service.queue(session, shard, BACKOFF_SECONDS * 2 ** (shard.attempts - 1))
    else:
        move(shard, "failed")
        shard.lease_until = None
        _failed(session, job, sentence)


def acknowledge_cancel(session: Session, claim: Claim) -> None:
    """The worker has stopped because its job is being cancelled."""
    job, shard = leases.held(session, claim)
    _charge(session, job, shard)
    _shard_cancelled(shard)
    _cancelled_when_idle(session, job)


def cancel(session: Session, job: Job) -> None:
    """Ask for a job to be stopped: at once where nothing runs, else as soon as its workers notice.

    Raises Conflict when it is over already.
    """
    session.refresh(job, with_for_update=True)
    if job.state not in ACTIVE:
        raise Conflict(f"This job has {job.state} already; there is nothing to cancel.", code="job_is_over")
    if job.cancel_requested_at is not None:
        return
    job.cancel_requested_at = now()
    service.log(session, job.id, "info", "cancellation requested")
    for shard in session.scalars(select(Shard).where(Shard.job_id == job.id, Shard.state.in_(("queued", "blocked")))):
        move(shard, "cancelled")
    if job.state == "running":
        move(job, "cancelling")
        service.announce(session, job)
    session.flush()
    _cancelled_when_idle(session, job)


def retry(session: Session, job: Job) -> None:
    """Run a failed or cancelled job again; what had succeeded is kept. Raises Conflict for other states."""
    session.refresh(job, with_for_update=True)
    if job.state not in ("failed", "cancelled"):
        raise Conflict(
            f"This job is {job.state}; only a failed or cancelled one can be run again.", code="not_retryable"
        )
    needs = list(session.scalars(select(Job).join(JobNeed, JobNeed.needs_id == Job.id).where(JobNeed.job_id == job.id)))
    for need in needs:
        if need.state in ("failed", "cancelled"):
            retry(session, need)
    waiting = any(n.state != "succeeded" for n in needs)
    move(job, "waiting" if waiting else "queued")
    job.error = job.finished_at = job.cancel_requested_at = job.started_at = job.seconds = None
    job.phase, job.progress = "", 0.0
    shards = list(session.scalars(select(Shard).where(Shard.job_id == job.id)))
    for shard in shards:
        if shard.state != "succeeded":
            if shard.state != "blocked":
                move(shard, "blocked")
            shard.attempts, shard.progress = 0, 0.0
    session.flush()
    service.log(session, job.id, "info", "run again")
    outcomes.OUTCOMES[job.kind].restarted(session, job)
    if not waiting:
        service.open_stage(session, job, min(s.stage for s in shards if s.state == "blocked"))
    service.announce(session, job)


def take_back_lost(session: Session, max_attempts: int, stall_seconds: float) -> int:
    """Take back every shard whose lease ran out or that made no progress for too long. Returns how many."""
    silent = (
        Shard.state == "running",
        (Shard.lease_until < db_epoch()) | (Shard.progress_at < db_epoch() - stall_seconds),
    )
    taken = 0
    found = session.execute(
        select(Shard.id, Shard.job_id, Shard.fence, Shard.attempts, Shard.worker).where(*silent)
    ).all()
    for row in found:
        claim = Claim(row.id, row.job_id, row.fence, row.attempts)
        try:
            job, _ = leases.held(session, claim)
        except LostLease:
            continue
        # It may have been renewed while we waited for the lock.
        if session.scalar(select(Shard.id).where(Shard.id == row.id, *silent)) is None:
            continue
        job.leases_lost += 1
        sentence = f"Worker {row.worker} stopped answering in attempt {row.attempts}; the kernel's log may say why."
        fail(session, claim, sentence, retry=True, max_attempts=max_attempts)
        taken += 1
    return taken


def _charge(session: Session, job: Job, shard: Shard) -> None:
    """Add what an attempt took, by the database's clock, to the job's cost."""
    if shard.claimed_at is not None:
        job.compute_seconds += max(0.0, (session.scalar(select(db_epoch())) or 0.0) - shard.claimed_at)
        shard.claimed_at = None


def _failed(session: Session, job: Job, sentence: str) -> None:
    for shard in session.scalars(
        select(Shard).where(Shard.job_id == job.id, Shard.state.in_(("queued", "blocked", "running")))
    ):
        _charge(session, job, shard)
        move(shard, "cancelled")
        shard.lease_until = None
    move(job, "failed")
    job.error, job.finished_at = sentence, now()
    outcomes.OUTCOMES[job.kind].failed(session, job, sentence)
    service.announce(session, job)
    for dependent in _dependents(session, job, "waiting"):
        _failed(session, dependent, f"The {job.kind} that this needs failed: {sentence}")


def _shard_cancelled(shard: Shard) -> None:
    move(shard, "cancelled")
    shard.lease_until = None


def _cancelled_when_idle(session: Session, job: Job) -> None:
    session.flush()
    running = session.scalar(select(func.count()).where(Shard.job_id == job.id, Shard.state == "running"))
    if not running:
        _cancelled(session, job)


def _cancelled(session: Session, job: Job) -> None:
    session.execute(
        update(Shard)
        .where(Shard.job_id == job.id, Shard.state.in_(("queued", "blocked")))
        .values(state="cancelled")
        .execution_options(synchronize_session="fetch")
    )
    move(job, "cancelled")
    job.finished_at = now()
    service.log(session, job.id, "info", "cancelled")
    outcomes.OUTCOMES[job.kind].cancelled(session, job)
    service.announce(session, job)
    for dependent in _dependents(session, job, "waiting"):
        _failed(session, dependent, f"The {job.kind} that this needs was cancelled; run it again.")


def _dependents(session: Session, job: Job, state: str) -> list[Job]:
    query = select(Job).join(JobNeed, JobNeed.job_id == Job.id).where(JobNeed.needs_id == job.id, Job.state == state)
    return list(session.scalars(query))


def _release_dependents(session: Session, job: Job) -> None:
    session.flush()
    for dependent in _dependents(session, job, "waiting"):
        states = session.scalars(
            select(Job.state).join(JobNeed, JobNeed.needs_id == Job.id).where(JobNeed.job_id == dependent.id)
        )
        if all(state == "succeeded" for state in states):
            move(dependent, "queued")
            service.open_stage(session, dependent, 0)
            service.announce(session, dependent)
