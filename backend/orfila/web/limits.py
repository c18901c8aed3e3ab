"""Rate limits, counted in this process: they slow down guessing, they are not accounting."""

from __future__ import annotations

from typing import Literal

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class RateLimit:
    """At most `count` in every moving minute or hour, for each key."""

    def __init__(self, count: int, per: Literal["minute", "hour"]) -> None:
        self._item = parse(f"{count}/{per}")
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def take(self, key: str) -> bool:
        """Use one up; False when none is left."""
        return self._limiter.hit(self._item, key)

    def forget(self, key: str) -> None:
        """Start again for a key."""
        self._limiter.clear(self._item, key)
