"""What every request and response body shares: strict input, and reading from SQLAlchemy rows."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Item = TypeVar("Item")
RunState = Literal["running", "finished", "failed", "cancelled"]
MAX_NAME = 120

Timestamp = Annotated[datetime, PlainSerializer(lambda t: t.isoformat(timespec="milliseconds"), return_type=str)]
"""A moment in UTC, ISO 8601."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, lower-case hexadecimal.")]


class Request(BaseModel):
    """A body that a client sends: unknown fields are an error, so that a typing slip is not silently ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Response(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(from_attributes=True)


class Page(Response, Generic[Item]):
    """One page of a list. `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None = None
    total: int | None = Field(None, description="How many match in all, where counting is cheap.")


class Problem(Response):
    """RFC 9457 problem+json."""

    type: str = "about:blank"
    title: str = Field(description="What happened, in a few words.")
    status: int
    code: str = Field(description="A stable code for programs, e.g. `upload_offset_mismatch`.")
    detail: str = Field(description="One sentence that says what is wrong and what to do.")
    instance: str | None = Field(None, description="The id of this request, to quote in a report.")
    errors: list[dict[str, str]] | None = Field(None, description="For a rejected body: each field and why.")


def short_name(name: str) -> str:
    """A name that the system makes up, no longer than one that a person may give."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "\u2026"
