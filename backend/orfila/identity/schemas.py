"""Bodies of sign-in, the current user, and API tokens."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Timestamp

Scope = Literal["read", "write", "admin"]
SignInMethod = Literal["link", "password", "oidc"]


class SignIn(Request):
    """Redeems the one-time code of a sign-in link."""

    code: str = Field(min_length=16, max_length=128)


class PasswordSignIn(Request):
    """Signs in with a name and a password."""

    name: str = Field(min_length=1, max_length=120)
    password: str = Field(min_length=1, max_length=256)


class PasswordChange(Request):
    """A new password."""

    current: str | None = Field(
        None, max_length=256, description="Needed where there is one, unless the session is from a link of this hour."
    )
    new: str = Field(max_length=256, description="At least twelve characters.")


class SignInWays(Response):
    """How one may sign in here."""

    provider: str | None = Field(description="What the OpenID provider is called; null where none is set up.")


class User(Response):
    """A person with an account."""

    id: str
    name: str
    email: str | None
    is_administrator: bool
    created_at: Timestamp


class Account(User):
    """A person as administrators see them."""

    has_password: bool
    disabled: bool
    last_seen_at: Timestamp | None = Field(description="In a browser session that has not ended.")


class UserCreate(Request):
    """A new person."""

    name: str = Field(min_length=1, max_length=120)
    email: str | None = Field(None, max_length=255, pattern=r"^[^@\s]+@[^@\s]+$")
    is_administrator: bool = False


class UserChange(Request):
    """What to change of a person; fields that are left out stay."""

    email: str | None = Field(None, max_length=255, pattern=r"^[^@\s]+@[^@\s]+$")
    is_administrator: bool | None = None
    disabled: bool | None = Field(None, description="Ends every session and makes tokens useless until it is lifted.")


class SignInLink(Response):
    """A link that signs one person in, once, within a day: an invitation, or the way back in."""

    user: Account
    link: str


class BrowserSession(Response):
    """A sign-in of a browser."""

    id: str
    method: SignInMethod
    address: str | None
    browser: str | None
    created_at: Timestamp
    last_seen_at: Timestamp
    expires_at: Timestamp
    is_current: bool


class Session(Response):
    """Who is signed in, and how."""

    user: User
    has_password: bool
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
