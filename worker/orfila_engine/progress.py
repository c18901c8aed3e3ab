"""How long work reports: a callback that may also stop it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called as progress(what is being done now, share done in 0..1). Raising from it cancels the work."""


def quiet(_doing: str, _share: float) -> None:
    """Report nothing."""


def repeated(progress: Progress) -> Progress:
    """A progress for passes of which nobody knows how many come: each fills half of what is left of 0..1.

    So it always moves on, which the watchdog of stalled jobs looks at, and never falls back.
    """
    start, last = 0.0, 0.0

    def report(doing: str, share: float) -> None:
        nonlocal start, last
        if share < last:  # the next pass
            start += (1 - start) / 2
        last = share
        progress(doing, start + (1 - start) / 2 * share)

    return report


def part(progress: Progress, start: float, stop: float) -> Progress:
    """A progress whose 0..1 fills start..stop of another one."""
    return lambda doing, share: progress(doing, start + (stop - start) * share)
