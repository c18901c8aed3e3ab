"""Bodies of webhooks."""

from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from orfila.schema_base import Request, Response, Timestamp

EventName = Literal[
    "dataset.ready",
    "dataset.failed",
    "model.ready",
    "model.failed",
    "case.opened",
    "case.scored",
    "case.failed",
    "case.refitted",
    "case.regressed",
    "verdicts.recorded",
    "comment.added",
    "conflict.decided",
    "round.opened",
    "round.signed_off",
    "remedy.started",
    "remedy.ended",
    "check.ended",
]
EVENTS: tuple[EventName, ...] = get_args(EventName)
DeliveryState = Literal["pending", "delivered", "failed"]


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("give an http or https address without a user or fragment in it")
    return url


class WebhookCreate(Request):
    """An address to be told of events."""

    url: str = Field(min_length=1, max_length=2_000, description="https of a public host.")
    events: list[EventName] = Field(default=["case.scored", "round.signed_off", "remedy.ended"], min_length=1)

    _checked = field_validator("url")(_address)


class WebhookChange(Request):
    """What to change of a webhook; fields that are left out stay."""

    url: str | None = Field(None, min_length=1, max_length=2_000)
    events: list[EventName] | None = Field(None, min_length=1)
    active: bool | None = None

    @field_validator("url")
    @classmethod
    def _check(cls, url: str | None) -> str | None:
        return None if url is None else _address(url)


class Webhook(Response):
    """A webhook, without its secret."""

    id: str
    project_id: str
    url: str
    events: list[EventName]
    active: bool
    created_at: Timestamp


class WebhookCreated(Webhook):
    """The only answer that shows the secret."""

    secret: str = Field(
        description="X-Orfila-Signature is `t=SECONDS,v1=HEX`: HMAC-SHA256 under this secret of `SECONDS.BODY`."
    )


class Delivery(Response):
    """What was sent, or is to be sent, to a webhook."""

    id: int
    event: str
    state: DeliveryState
    attempts: int
    status: int | None = Field(description="HTTP status of the last answer.")
    error: str | None
    created_at: Timestamp
    ended_at: Timestamp | None
