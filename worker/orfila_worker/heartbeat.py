"""The heartbeat of a running shard: renews its lease from a thread, and ends this process when the shard is lost.

Work that sits in one long C call cannot be interrupted from Python. So when the lease is lost, or cancellation has not
been noticed within a grace period, the process kills itself; Celery starts a new child, and the fence has already made
the old one's results worthless.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import structlog

from orfila.db import Database
from orfila.jobs import lifecycle
from orfila.jobs.leases import Claim, LostLease
from orfila.settings import Settings

CANCEL_GRACE_SECONDS = 20.0
REPORT_SECONDS = 1.0
_log = structlog.get_logger("orfila.heartbeat")


class Cancelled(Exception):
    """Somebody asked for the job to be stopped."""


class Heartbeat:
    """Use as a context manager around the work; call it as the engine's `progress(doing, share)`."""

    def __init__(
        self, database: Database, settings: Settings, claim: Claim, pause: Callable[[], None] | None = None
    ) -> None:
        """pause: waits as long as this work should, called whenever it reports progress."""
        self._database, self._settings, self._claim, self._pause = database, settings, claim, pause
        self._doing, self._share = "", 0.0
        self._cancel = threading.Event()
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __call__(self, doing: str, share: float) -> None:
        """Note progress (0..1). Raises Cancelled or LostLease, which the engine lets through."""
        self._doing, self._share = doing, share
        self.check()
        if self._pause is not None:
            self._pause()

    def check(self) -> None:
        """Raise Cancelled or LostLease if that is so."""
        if self._lost.is_set():
            raise LostLease
        if self._cancel.is_set():
            raise Cancelled

    def _beat(self) -> None:
        pause = min(REPORT_SECONDS, self._settings.lease_seconds / 4)
        renewed = time.monotonic()
        cancel_seen: float | None = None
        while not self._stop.wait(pause):
            try:
                with self._database.transaction() as session:
                    cancel = lifecycle.report(
                        session, self._claim, self._settings.lease_seconds, self._share, self._doing
                    )
                renewed = time.monotonic()
            except LostLease:
                self._lost.set()
                cancel = False
            except Exception:
                # The database is away: harmless as long as the lease lasts.
                _log.exception("heartbeat failed")
                cancel = False
                if time.monotonic() - renewed > self._settings.lease_seconds:
                    self._lost.set()
            if cancel and cancel_seen is None:
                cancel_seen = time.monotonic()
                self._cancel.set()
            overdue = cancel_seen is not None and time.monotonic() - cancel_seen > CANCEL_GRACE_SECONDS
            if overdue or (self._lost.is_set() and self._stop.wait(self._settings.lease_seconds / 4) is False):
                _log.error("giving up this process", shard=self._claim.shard_id, lost=self._lost.is_set())
                os.kill(os.getpid(), signal.SIGKILL)
