"""What administrators do with accounts: invite, let back in, disable. Nobody is deleted: what they said stays."""

from __future__ import annotations

from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.db import now
from orfila.errors import Conflict, Forbidden, NotFound
from orfila.identity import repository, schemas, service
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.settings import Settings


def list_accounts(session: Session, subject: Subject) -> list[schemas.Account]:
    """Everybody, by name."""
    _require_administrator(subject)
    return [_described(session, user) for user in repository.users(session)]


def invite(session: Session, subject: Subject, settings: Settings, body: schemas.UserCreate) -> schemas.SignInLink:
    """A new person, and the link that lets them in."""
    _require_administrator(subject)
    user = service.create_user(
        session, body.name, email=body.email, is_administrator=body.is_administrator, actor=subject.name
    )
    return _linked(session, subject, settings, user)


def new_link(session: Session, subject: Subject, settings: Settings, user_id: str) -> schemas.SignInLink:
    """A link that lets a person back in, to set a new password. Raises Conflict for a disabled account."""
    user = _find(session, subject, user_id)
    if user.disabled_at is not None:
        raise Conflict("This account is disabled; enable it first.", code="disabled")
    return _linked(session, subject, settings, user)


def change(session: Session, subject: Subject, user_id: str, body: schemas.UserChange) -> schemas.Account:
    """Change a person's account. Raises Conflict where nobody could administer any more."""
    user = _find(session, subject, user_id)
    asked = body.model_fields_set
    loses = (body.is_administrator is False and "is_administrator" in asked) or body.disabled is True
    if loses and user.is_administrator and repository.n_other_administrators(session, user.id) == 0:
        raise Conflict("This is the last administrator who can sign in; make somebody else one first.", code="last_one")
    detail: dict[str, object] = {"name": user.name}
    if "email" in asked and body.email != user.email:
        user.email = body.email
        detail["email"] = body.email
    if body.is_administrator is not None and body.is_administrator != user.is_administrator:
        user.is_administrator = body.is_administrator
        detail["administrator"] = body.is_administrator
    if body.disabled is not None and body.disabled != (user.disabled_at is not None):
        user.disabled_at = now() if body.disabled else None
        detail["disabled"] = body.disabled
        if body.disabled:
            detail["sessions_ended"] = repository.end_sessions_of(session, user.id)
    if len(detail) > 1:
        record(session, subject.name, "user.changed", "user", user.id, None, detail)
    return _described(session, user)


def _linked(session: Session, subject: Subject, settings: Settings, user: User) -> schemas.SignInLink:
    link = service.link_of(settings, service.issue_code(session, user, subject.name))
    return schemas.SignInLink(user=_described(session, user), link=link)


def _find(session: Session, subject: Subject, user_id: str) -> User:
    _require_administrator(subject)
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def _require_administrator(subject: Subject) -> None:
    if not subject.is_administrator:
        raise Forbidden("Only administrators manage accounts.", code="administrators_only")


def _described(session: Session, user: User) -> schemas.Account:
    living = repository.sessions_of(session, user.id, now())
    return schemas.Account(
        **schemas.User.model_validate(user).model_dump(),
        has_password=user.password_hash is not None,
        disabled=user.disabled_at is not None,
        last_seen_at=living[0].last_seen_at if living else None,
    )
