"""Rate limits, counted in this process: they slow down guessing, they are not accounting."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Limits:
    """The limits of one application."""

    sign_ins: RateLimit = field(default_factory=lambda: RateLimit(10, "minute"))
    """For each address."""
    tokens: RateLimit = field(default_factory=lambda: RateLimit(30, "minute"))
    """For each user."""
