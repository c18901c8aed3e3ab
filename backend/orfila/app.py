"""The application: routers, middleware, error answers. `create_app(settings)` makes one; nothing happens on import.

Every route of the root router needs a session or a token. The public ones are listed here, and nowhere else.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

import orfila.audit.endpoints
import orfila.cases.endpoints
import orfila.checks.endpoints
import orfila.comparisons.endpoints
import orfila.datasets.endpoints
import orfila.drills.endpoints
import orfila.events.endpoints
import orfila.figures.endpoints
import orfila.identity.endpoints
import orfila.jobs.endpoints
import orfila.maps.endpoints
import orfila.models.endpoints
import orfila.presence.endpoints
import orfila.projects.endpoints
import orfila.remedies.endpoints
import orfila.reports.endpoints
import orfila.review.endpoints
import orfila.rounds.endpoints
import orfila.sweeps.endpoints
import orfila.talk.endpoints
import orfila.uploads.endpoints
import orfila.views.endpoints
import orfila.webhooks.endpoints
from orfila import __version__
from orfila.db import Database
from orfila.identity.service import base_url
from orfila.jobs.dispatch import Doorbell, ring_after_commits
from orfila.rounds.blindness import require_sight
from orfila.schema_base import Problem
from orfila.settings import UI_DIR, Settings, get_settings
from orfila.storage import get_store
from orfila.web import interface, metrics, operations, problems, reference
from orfila.web.dependencies import THREADS, subject_of
from orfila.web.limits import Limits
from orfila.web.metrics import CountRequests
from orfila.web.middleware import BodyLimit, HostCheck, OriginCheck, RequestId, SecurityHeaders

PUBLIC = (operations.router, orfila.identity.endpoints.public)
"""Routers that nobody needs to sign in for; so are the interface's page and assets, the OpenAPI document
and its reference page."""

PROTECTED = (
    orfila.identity.endpoints.router,
    orfila.projects.endpoints.router,
    orfila.uploads.endpoints.router,
    orfila.views.endpoints.router,
    orfila.datasets.endpoints.router,
    orfila.models.endpoints.router,
    orfila.cases.endpoints.router,
    orfila.figures.endpoints.router,
    orfila.review.endpoints.router,
    orfila.rounds.endpoints.router,
    orfila.talk.endpoints.router,
    orfila.remedies.endpoints.router,
    orfila.checks.endpoints.router,
    orfila.comparisons.endpoints.router,
    orfila.maps.endpoints.router,
    orfila.reports.endpoints.router,
    orfila.drills.endpoints.router,
    orfila.sweeps.endpoints.router,
    orfila.jobs.endpoints.router,
    orfila.jobs.endpoints.workers,
    metrics.router,
    orfila.events.endpoints.router,
    orfila.presence.endpoints.router,
    orfila.audit.endpoints.router,
    orfila.webhooks.endpoints.router,
)


def create_app(settings: Settings | None = None, *, ui_dir: Path = UI_DIR) -> FastAPI:
    """The API and the browser interface of one installation."""
    settings = settings or get_settings()
    database = Database(settings.resolved_database_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # What is loaded by now stays; the collector need not look through it for each few hundred new objects.
        gc.collect()
        gc.freeze()
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        database.dispose()

    app = FastAPI(
        title="Orfila",
        version=__version__,
        description="Poison forensics for image classifiers.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        responses={
            "4XX": {"model": Problem, "description": "Problem", "content": {"application/problem+json": {}}},
        },
        lifespan=lifespan,
        middleware=[
            Middleware(RequestId),
            Middleware(CountRequests),
            Middleware(SecurityHeaders),
            Middleware(HostCheck, allowed=settings.allowed_hosts),
            Middleware(OriginCheck, public_url=base_url(settings)),
            Middleware(BodyLimit),
        ],
    )
    ring_after_commits(database, Doorbell(settings))
    app.state.settings = settings
    app.state.database = database
    app.state.store = get_store(settings)
    app.state.ui_dir = ui_dir
    app.state.limits = Limits()
    problems.install(app)

    for public in PUBLIC:
        app.include_router(public)
    root = APIRouter(dependencies=[Depends(subject_of), Depends(require_sight)])
    for protected in PROTECTED:
        root.include_router(protected)
    app.include_router(root)
    app.include_router(reference.router)
    app.include_router(interface.router)  # last: it takes every address that is left
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
