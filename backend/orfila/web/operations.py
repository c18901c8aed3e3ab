"""Liveness and readiness, for supervisors and load balancers. Public, and silent about everything else."""

from fastapi import APIRouter

from orfila.errors import OrfilaError
from orfila.migrations import is_current
from orfila.web.dependencies import DatabaseDep

router = APIRouter(tags=["operations"])


class NotReady(OrfilaError):
    """Running, but not able to serve yet."""

    status, title = 503, "Not ready"


@router.get("/health")
def health() -> dict[str, str]:
    """The process runs."""
    return {"status": "ok"}


@router.get("/ready")
def ready(database: DatabaseDep) -> dict[str, str]:
    """The database is there and up to date."""
    if not is_current(database.engine):
        raise NotReady("The database has not this version's tables; run `orfila migrate`.")
    return {"status": "ready"}
