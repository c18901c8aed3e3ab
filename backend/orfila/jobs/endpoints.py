"""HTTP of jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from orfila.audit.service import record
from orfila.jobs import lifecycle, schemas, service
from orfila.schema_base import Page
from orfila.web.dependencies import Cursor, Limit, SessionDep, SubjectDep

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
workers = APIRouter(prefix="/api/v1/workers", tags=["jobs"])


@workers.get("")
def list_workers(session: SessionDep, subject: SubjectDep) -> list[schemas.Worker]:
    """The worker processes that are there. The job of one is told to those who may see the job."""
    return service.list_workers(session, subject)


@router.get("")
def list_jobs(
    session: SessionDep,
    subject: SubjectDep,
    project_id: str | None = None,
    state: schemas.JobState | None = None,
    active: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[schemas.Job]:
    """Jobs, newest first."""
    return service.list_jobs(session, subject, project_id, state, active, cursor, limit)


@router.get("/{job_id}")
def get_job(job_id: str, session: SessionDep, subject: SubjectDep) -> schemas.JobDetail:
    """One job with its shards."""
    return service.detailed(session, service.find(session, subject, job_id))


@router.get("/{job_id}/log")
def get_job_log(
    job_id: str, session: SessionDep, subject: SubjectDep, after: Annotated[int, Query(ge=0)] = 0, limit: Limit = 500
) -> list[schemas.LogLine]:
    """Lines of the log after an id."""
    return service.log_lines(session, service.find(session, subject, job_id).id, after, limit)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Job:
    """Stop a job; a running one stops within seconds, in the middle of any phase."""
    job = service.find(session, subject, job_id, "write")
    lifecycle.cancel(session, job)
    record(session, subject.name, "job.cancelled", "job", job.id, job.project_id, {"kind": job.kind})
    return service.described(session, job)


@router.post("/{job_id}/retry")
def retry_job(job_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Job:
    """Run a failed or cancelled job again; finished shards are kept."""
    job = service.find(session, subject, job_id, "write")
    lifecycle.retry(session, job)
    record(session, subject.name, "job.retried", "job", job.id, job.project_id, {"kind": job.kind})
    return service.described(session, job)
