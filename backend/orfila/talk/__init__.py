"""Comments on cases and images, mentions, and the notifications that come of them."""

from orfila.talk.notices import notify

__all__ = ["notify"]
