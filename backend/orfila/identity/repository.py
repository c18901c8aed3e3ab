"""All SQL of users, sessions, codes and tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from orfila.identity.models import ApiToken, BrowserSession, SignInCode, User


def user_named(session: Session, name: str) -> User | None:
    """The user of that name."""
    return session.scalar(select(User).where(User.name == name))


def take_code(session: Session, code_hash: str, at: datetime) -> str | None:
    """Use a sign-in code up; its user's id, or None when it is unknown, used or expired. Two takers: one wins."""
    return session.scalar(
        update(SignInCode)
        .where(SignInCode.code_hash == code_hash, SignInCode.used_at.is_(None), SignInCode.expires_at > at)
        .values(used_at=at)
        .returning(SignInCode.user_id)
    )


def browser_session(session: Session, secret_hash: str, at: datetime) -> tuple[BrowserSession, User] | None:
    """A living session and its user."""
    row = session.execute(
        select(BrowserSession, User)
        .join(User, User.id == BrowserSession.user_id)
        .where(BrowserSession.secret_hash == secret_hash, BrowserSession.expires_at > at)
    ).first()
    return (row[0], row[1]) if row else None


def end_browser_session(session: Session, secret_hash: str) -> None:
    """Sign out."""
    session.execute(delete(BrowserSession).where(BrowserSession.secret_hash == secret_hash))


def forget_expired(session: Session, at: datetime) -> None:
    """Remove sessions and codes that nobody can use any more."""
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= at))
    session.execute(delete(SignInCode).where(SignInCode.expires_at <= at))


def token_by_secret(session: Session, secret_hash: str, at: datetime) -> tuple[ApiToken, User] | None:
    """A living token and its user."""
    row = session.execute(
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.secret_hash == secret_hash, ApiToken.expires_at > at, ApiToken.revoked_at.is_(None))
    ).first()
    return (row[0], row[1]) if row else None


def tokens_of(session: Session, user_id: str) -> list[ApiToken]:
    """A user's tokens that are not revoked, newest first."""
    query = select(ApiToken).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    return list(session.scalars(query.order_by(ApiToken.created_at.desc(), ApiToken.id)))


def touch_token(session: Session, token_id: str, at: datetime) -> None:
    """Note when a token was used."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=at))
