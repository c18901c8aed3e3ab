"""Who is asking: what every service is told of the caller."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orfila.identity.schemas import Scope


@dataclass(frozen=True)
class Origin:
    """Where a sign-in came from, to tell one's sessions apart."""

    address: str | None
    browser: str | None


@dataclass(frozen=True)
class Subject:
    """A signed-in person, or a token that acts for one."""

    user_id: str
    name: str
    is_administrator: bool
    scopes: tuple[Scope, ...]
    via: Literal["session", "token"]
    expires_at: datetime | None
    credential_id: str
    """Hash of the session's secret, or id of the token: what signing out removes."""
