"""The doorbell: a Celery message that says "look at your queue". It carries no work and may be lost or doubled."""

from __future__ import annotations

import structlog
from celery import Celery
from sqlalchemy import event, update
from sqlalchemy.orm import Session

from orfila.db import Database
from orfila.jobs.leases import db_epoch
from orfila.jobs.models import Shard
from orfila.settings import Settings

TASK = "orfila.run"
_log = structlog.get_logger("orfila.dispatch")


def broker_app(settings: Settings) -> Celery:
    """A Celery application with this product's settings: JSON, early ack, no prefetch, no results."""
    app = Celery("orfila", broker=settings.resolved_broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_default_queue="cpu",
        task_create_missing_queues=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": True,
        },
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_proc_alive_timeout=120.0,  # a new child imports torch first; the default of 4 s kills it in the middle
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


class Doorbell:
    """Rings for queues. A broker that does not answer loses nothing: the sweeper rings again."""

    def __init__(self, settings: Settings) -> None:
        self._app = broker_app(settings)
        # A request must not wait for a broker that is down: kombu's own retries would hold it for six seconds.
        once = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
        self._app.conf.broker_transport_options = {**self._app.conf.broker_transport_options, **once}

    def ring(self, queue: str) -> bool:
        """Ring once; says whether the broker took it."""
        try:
            self._app.send_task(TASK, args=[queue], queue=queue, retry=False, expires=60)
        except Exception as error:  # kombu and redis raise many kinds; each means "not delivered"
            _log.warning("doorbell not delivered", queue=queue, error=str(error))
            return False
        return True


def ring_after_commits(database: Database, doorbell: Doorbell) -> None:
    """Ring for every shard that a transaction queues, once that transaction is committed."""

    @event.listens_for(database.sessions, "after_commit")
    def _ring(session: Session) -> None:
        for queue in session.info.pop("ring", []):
            doorbell.ring(queue)

    @event.listens_for(database.sessions, "after_rollback")
    def _forget(session: Session) -> None:
        session.info.pop("ring", None)


def want_ring(session: Session, shard: Shard) -> None:
    """Have the bell ring for a queued shard when this transaction is committed."""
    session.info.setdefault("ring", []).append(shard.queue)
    session.flush()
    session.execute(update(Shard).where(Shard.id == shard.id).values(rung_at=db_epoch()))
