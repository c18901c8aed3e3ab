"""How long work reports: a callback that may also stop it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called as progress(what is being done now, share done in 0..1). Raising from it cancels the work."""


def quiet(_doing: str, _share: float) -> None:
    """Report nothing."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """A progress whose 0..1 fills start..stop of another one."""
    return lambda doing, share: progress(doing, start + (stop - start) * share)
