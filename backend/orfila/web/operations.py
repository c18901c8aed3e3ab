"""Liveness and readiness, for supervisors and load balancers. Public, and silent about everything else."""

from fastapi import APIRouter

from orfila.errors import OrfilaError
from orfila.jobs.presence import queues_served
from orfila.jobs.service import QUEUES
from orfila.migrations import is_current
from orfila.schema_base import Problem
from orfila.web.dependencies import DatabaseDep

router = APIRouter(tags=["operations"])


class NotReady(OrfilaError):
    """Running, but not able to serve yet."""

    status, title = 503, "Not ready"


@router.get("/health")
def health() -> dict[str, str]:
    """The process runs."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"model": Problem}})
def ready(database: DatabaseDep) -> dict[str, str]:
    """The database is there and up to date, and every queue has a worker that was heard of in the last seconds."""
    if not is_current(database.engine):
        raise NotReady("The database has not this version's tables; run `orfila migrate`.", code="not_migrated")
    with database.reading() as session:
        idle = sorted(set(QUEUES.values()) - queues_served(session))
    if idle:
        raise NotReady(f"No worker serves {', '.join(idle)}; start `orfila worker`.", code="no_worker")
    return {"status": "ready"}
