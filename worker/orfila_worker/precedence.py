"""Who waits at a screen comes first: where workers compute on the same processors, a training pauses for a question.

Priorities alone do not do it: whoever computes beside a question still takes memory bandwidth and caches from it. A
question holds a file lock; background work looks at it as often as it reports progress, and waits while it is held.
The system lets go of the lock when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE_SECONDS = 2.0
"""The longest pause, which is short beside a lease."""
WORK_SHARE = 0.25
"""Of a pause: so long background work goes on before the next one. Where somebody asks all the time it still moves."""
_LOOK_SECONDS = 0.01


class Precedence:
    """The lock of one host, as one process sees it."""

    def __init__(self, folder: Path) -> None:
        """folder: of this host's workers."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / "question.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._not_before = 0.0

    @contextmanager
    def take(self) -> Iterator[None]:
        """While a question is answered; several may be at once."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def give_way(self) -> None:
        """Wait while a question is answered, PAUSE_SECONDS at most."""
        began = time.monotonic()
        if began < self._not_before:
            return
        waited = 0.0
        while self._is_asked() and waited < PAUSE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            waited = time.monotonic() - began
        self._not_before = time.monotonic() + WORK_SHARE * waited

    def _is_asked(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False
