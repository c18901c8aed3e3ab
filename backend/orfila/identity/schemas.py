"""Bodies of sign-in, the current user, and API tokens."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Timestamp

Scope = Literal["read", "write", "admin"]


class SignIn(Request):
    """Redeems the one-time code of a sign-in link."""

    code: str = Field(min_length=16, max_length=128)


class User(Response):
    """A person with an account."""

    id: str
    name: str
    email: str | None
    is_administrator: bool
    created_at: Timestamp


class Session(Response):
    """Who is signed in, and how."""

    user: User
    via: Literal["session", "token"]
    scopes: list[Scope]
    expires_at: Timestamp | None
    version: str = Field(description="Version of the server.")


class TokenCreate(Request):
    """A new API token."""

    name: str = Field(min_length=1, max_length=80)
    scopes: list[Scope] = Field(default=["read", "write"], min_length=1)
    expires_in_days: int = Field(90, ge=1, le=365)


class Token(Response):
    """An API token, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: Timestamp | None


class TokenCreated(Token):
    """The only answer that shows the secret."""

    secret: str
