"""What data sets and models have in common as evidence: renamed, preserved, deleted only when nothing needs them."""

from __future__ import annotations

from typing import Literal, Protocol

from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.errors import Conflict
from orfila.identity.subject import Subject
from orfila.projects.schemas import Amendment

Kind = Literal["dataset", "model"]
_WORDS: dict[Kind, str] = {"dataset": "data set", "model": "model"}


class Kept(Protocol):
    """A row that can be preserved."""

    id: str
    project_id: str
    name: str
    preserved: bool


def amend(session: Session, subject: Subject, kind: Kind, thing: Kept, body: Amendment) -> None:
    """Rename it, preserve it as evidence or lift that; each change is in the audit. Its content never changes."""
    if body.name is not None and body.name != thing.name:
        detail = {"from": thing.name, "to": body.name}
        thing.name = body.name
        record(session, subject.name, f"{kind}.renamed", kind, thing.id, thing.project_id, detail)
    if body.preserved is not None and body.preserved != thing.preserved:
        thing.preserved = body.preserved
        action = f"{kind}.preserved" if body.preserved else f"{kind}.released"
        record(session, subject.name, action, kind, thing.id, thing.project_id, {"name": thing.name})


def require_deletable(kind: Kind, thing: Kept, user: str | None) -> None:
    """Raises Conflict when it is preserved, or when something still needs it. user: what does, in a few words."""
    if thing.preserved:
        raise Conflict(f"The {_WORDS[kind]} is preserved as evidence; lift that first.", code="preserved")
    if user is not None:
        raise Conflict(f"The {_WORDS[kind]} is the ground of {user}, and stays as evidence.", code=f"{kind}_in_use")
