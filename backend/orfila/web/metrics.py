"""Prometheus: what this process has answered, and what the database says of queues, jobs, workers and uploads.

The counts of requests are each process's own; everything of the database is the same whichever process is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orfila.db import Database
from orfila.errors import Forbidden
from orfila.jobs import presence
from orfila.jobs.leases import db_epoch
from orfila.jobs.models import Job, Shard
from orfila.jobs.service import QUEUES
from orfila.uploads.models import Upload
from orfila.web.dependencies import DatabaseDep, SubjectDep

router = APIRouter(tags=["operations"])

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_UNKNOWN = "none"
"""The route of requests that no route took: their addresses are anybody's invention."""
http = CollectorRegistry()
_requests = Counter("orfila_http_requests", "Answers.", ("method", "route", "status"), registry=http)
_seconds = Histogram(
    "orfila_http_seconds", "Time to the end of an answer.", ("method", "route"), registry=http, buckets=_BUCKETS
)


class CountRequests:
    """ASGI middleware: counts answers and their seconds, by route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = "500", time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            found = scope.get("route")
            route = found.path_format if isinstance(found, APIRoute) else _UNKNOWN
            method = scope["method"] if found is not None else _UNKNOWN
            _requests.labels(method, route, status).inc()
            _seconds.labels(method, route).observe(time.perf_counter() - began)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(database: DatabaseDep, subject: SubjectDep) -> Response:
    """Prometheus' text format, for administrators: give the scraper a token (`orfila user token --read-only`)."""
    if not subject.is_administrator:
        raise Forbidden("Metrics tell of all projects; ask an administrator.", code="administrators_only")
    stored = CollectorRegistry()
    stored.register(_Stored(database))
    return Response(generate_latest(http) + generate_latest(stored), media_type=CONTENT_TYPE_LATEST)


class _Stored(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: what is described is not asked of the database at registration."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | SummaryMetricFamily]:
        with self._database.reading() as session:
            yield from _of_queues(session)
            yield from _of_jobs(session)
            yield from _of_workers(session)
            yield from _of_uploads(session)


def _of_queues(session: Session) -> Iterator[GaugeMetricFamily]:
    shards = GaugeMetricFamily("orfila_queue_shards", "Shards by queue and state.", labels=["queue", "state"])
    age = GaugeMetricFamily(
        "orfila_queue_oldest_seconds", "For how long the first due shard of a queue has waited.", labels=["queue"]
    )
    counts = dict.fromkeys(((q, s) for q in set(QUEUES.values()) for s in ("queued", "running")), 0)
    rows = session.execute(
        select(Shard.queue, Shard.state, func.count())
        .where(Shard.state.in_(("queued", "running")))
        .group_by(Shard.queue, Shard.state)
    )
    counts |= {(queue, state): n for queue, state, n in rows}
    for (queue, state), n in sorted(counts.items()):
        shards.add_metric([queue, state], n)
    oldest = select(Shard.queue, db_epoch() - func.min(Shard.queued_at)).where(
        Shard.state == "queued", Shard.queued_at <= db_epoch()
    )
    waited = {row[0]: float(row[1]) for row in session.execute(oldest.group_by(Shard.queue))}
    for queue in sorted(set(QUEUES.values())):
        age.add_metric([queue], max(0.0, waited.get(queue, 0.0)))
    yield from (shards, age)


def _of_jobs(session: Session) -> Iterator[GaugeMetricFamily | SummaryMetricFamily]:
    states = GaugeMetricFamily("orfila_jobs", "Jobs by kind and state.", labels=["kind", "state"])
    for kind, state, n in session.execute(
        select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state).order_by(Job.kind, Job.state)
    ):
        states.add_metric([kind, state], n)
    seconds = SummaryMetricFamily("orfila_job_seconds", "Duration of the jobs that succeeded.", labels=["kind"])
    for kind, n, total in session.execute(
        select(Job.kind, func.count(), func.sum(Job.seconds))
        .where(Job.state == "succeeded", Job.seconds.is_not(None))
        .group_by(Job.kind)
        .order_by(Job.kind)
    ):
        seconds.add_metric([kind], count_value=n, sum_value=total or 0.0)
    lost = GaugeMetricFamily("orfila_leases_lost", "Shards taken back from silent workers.", labels=["kind"])
    for kind, n in session.execute(select(Job.kind, func.sum(Job.leases_lost)).group_by(Job.kind).order_by(Job.kind)):
        lost.add_metric([kind], float(n or 0))
    yield from (states, seconds, lost)


def _of_workers(session: Session) -> Iterator[GaugeMetricFamily]:
    workers = GaugeMetricFamily("orfila_workers", "Workers that are there, by queue.", labels=["queue"])
    alive = presence.alive(session)
    for queue in sorted(set(QUEUES.values())):
        workers.add_metric([queue], sum(queue in worker.queues for worker in alive))
    yield workers


def _of_uploads(session: Session) -> Iterator[GaugeMetricFamily]:
    number = GaugeMetricFamily("orfila_uploads", "Uploads by state.", labels=["state"])
    size = GaugeMetricFamily("orfila_upload_bytes", "Bytes of uploads by state.", labels=["state"])
    for state, n, total in session.execute(
        select(Upload.state, func.count(), func.sum(Upload.offset)).group_by(Upload.state).order_by(Upload.state)
    ):
        number.add_metric([state], n)
        size.add_metric([state], float(total))
    yield from (number, size)
