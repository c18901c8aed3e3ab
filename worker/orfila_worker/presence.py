"""A worker says every few seconds that it is there, from a thread, whether it works or waits."""

from __future__ import annotations

import threading

import structlog

from orfila.db import Database
from orfila.jobs import presence

_log = structlog.get_logger("orfila.presence")


class Presence:
    """Tells of one worker process until it is stopped."""

    def __init__(self, database: Database, name: str, queues: list[str], device: str) -> None:
        self._database, self._name, self._queues, self._device = database, name, queues, device
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="presence", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The worker stops: nobody need wait until its silence is noticed."""
        self._stop.set()
        self._thread.join()
        try:
            with self._database.transaction() as session:
                presence.gone(session, self._name)
        except Exception:
            _log.warning("could not say that this worker stops", worker=self._name)

    def _tell(self) -> None:
        while True:
            try:
                with self._database.transaction() as session:
                    presence.seen(session, self._name, self._queues, self._device)
            except Exception:  # the database is away for a while
                _log.warning("could not say that this worker is there", worker=self._name)
            if self._stop.wait(presence.BEAT_SECONDS):
                return
