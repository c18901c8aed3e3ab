"""Rate limits, counted in this process: they slow down guessing, they are not accounting."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

_MAX_KEYS = 10_000


class RateLimit:
    """At most `count` in any `seconds`, for each key."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count, self._seconds = count, seconds
        self._taken: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Use one up; False when none is left."""
        now = time.monotonic()
        with self._lock:
            if key not in self._taken and len(self._taken) >= _MAX_KEYS:
                self._forget_old(now)
            taken = self._taken.setdefault(key, deque())
            while taken and taken[0] <= now - self._seconds:
                taken.popleft()
            if len(taken) >= self._count:
                return False
            taken.append(now)
            return True

    def _forget_old(self, now: float) -> None:
        """Drop the keys whose last use no longer counts, so that many addresses do not fill the memory."""
        self._taken = {k: t for k, t in self._taken.items() if t and t[-1] > now - self._seconds}


@dataclass(frozen=True)
class Limits:
    """The limits of one application."""

    sign_ins: RateLimit = field(default_factory=lambda: RateLimit(10, 60))
    """For each address."""
    passwords: RateLimit = field(default_factory=lambda: RateLimit(10, 300))
    """For each name that a password is tried for."""
    tokens: RateLimit = field(default_factory=lambda: RateLimit(30, 60))
    """For each user."""
