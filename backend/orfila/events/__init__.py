"""News of what changed: written in the transaction that changed it, streamed to browsers afterwards."""

from orfila.events.service import publish

__all__ = ["publish"]
