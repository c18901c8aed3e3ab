"""SHA-256 of uploads that are coming in, so that a finished file need not be read once more.

What is kept here is a convenience of one process: where it is missing (another process received a part, or this one was
killed), the finished file is read and hashed.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Protocol

_MOST = 256
"""Uploads that are remembered; some hundred bytes each."""


class Running(Protocol):
    """A hash in the making, as hashlib has it."""

    def update(self, data: memoryview, /) -> None:
        """Take more bytes in."""

    def hexdigest(self) -> str:
        """The hash of all bytes so far."""

    def copy(self) -> Running:
        """An independent hash of the same bytes."""


_lock = threading.Lock()
_remembered: OrderedDict[str, tuple[int, Running]] = OrderedDict()


def remember(upload_id: str, offset: int, running: Running) -> None:
    """Keep the hash of an upload's first `offset` bytes, which are on the disk."""
    with _lock:
        _remembered[upload_id] = (offset, running.copy())
        _remembered.move_to_end(upload_id)
        while len(_remembered) > _MOST:
            _remembered.popitem(last=False)


def recall(upload_id: str, offset: int) -> Running | None:
    """A hash of the first `offset` bytes to go on with; None when this process has not seen all of them."""
    if offset == 0:
        return hashlib.sha256()
    with _lock:
        at, running = _remembered.get(upload_id, (-1, None))
    return running.copy() if running is not None and at == offset else None


def forget(upload_id: str) -> None:
    """The upload is finished or gone."""
    with _lock:
        _remembered.pop(upload_id, None)
