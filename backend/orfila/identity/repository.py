"""All SQL of users, sessions, codes and tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from orfila.identity.models import ApiToken, BrowserSession, ExternalIdentity, OidcAttempt, SignInCode, User


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
        .where(BrowserSession.secret_hash == secret_hash, BrowserSession.expires_at > at, User.disabled_at.is_(None))
    ).first()
    return (row[0], row[1]) if row else None


def end_browser_session(session: Session, secret_hash: str) -> None:
    """Sign out."""
    session.execute(delete(BrowserSession).where(BrowserSession.secret_hash == secret_hash))


def sessions_of(session: Session, user_id: str, at: datetime) -> list[BrowserSession]:
    """A user's living sessions, the last used first."""
    query = select(BrowserSession).where(BrowserSession.user_id == user_id, BrowserSession.expires_at > at)
    return list(session.scalars(query.order_by(BrowserSession.last_seen_at.desc(), BrowserSession.id)))


def end_sessions_of(session: Session, user_id: str, *, but: str | None = None) -> int:
    """End a user's sessions, all but the one with this hash; how many there were."""
    query = delete(BrowserSession).where(BrowserSession.user_id == user_id)
    ended = session.scalars(
        (query if but is None else query.where(BrowserSession.secret_hash != but)).returning(BrowserSession.id)
    )
    return len(ended.all())


def touch_session(session: Session, secret_hash: str, at: datetime) -> None:
    """Note when a session was used."""
    session.execute(update(BrowserSession).where(BrowserSession.secret_hash == secret_hash).values(last_seen_at=at))


def users(session: Session) -> list[User]:
    """Everybody, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def n_other_administrators(session: Session, user_id: str) -> int:
    """Administrators who can sign in, without this user."""
    query = select(func.count()).where(User.is_administrator, User.disabled_at.is_(None), User.id != user_id)
    return session.scalar(query) or 0


def user_of_identity(session: Session, issuer: str, subject: str) -> User | None:
    """The user whom an OpenID provider calls this."""
    identity = session.get(ExternalIdentity, (issuer, subject))
    return session.get(User, identity.user_id) if identity is not None else None


def take_attempt(session: Session, state_hash: str, at: datetime) -> OidcAttempt | None:
    """Use up a sign-in that was sent to the provider; None when it is unknown, used or too old."""
    return session.scalar(
        delete(OidcAttempt)
        .where(OidcAttempt.state_hash == state_hash, OidcAttempt.expires_at > at)
        .returning(OidcAttempt)
    )


def forget_expired(session: Session, at: datetime) -> None:
    """Remove sessions and codes that nobody can use any more."""
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= at))
    session.execute(delete(SignInCode).where(SignInCode.expires_at <= at))
    session.execute(delete(OidcAttempt).where(OidcAttempt.expires_at <= at))


def token_by_secret(session: Session, secret_hash: str, at: datetime) -> tuple[ApiToken, User] | None:
    """A living token and its user."""
    row = session.execute(
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(
            ApiToken.secret_hash == secret_hash,
            ApiToken.expires_at > at,
            ApiToken.revoked_at.is_(None),
            User.disabled_at.is_(None),
        )
    ).first()
    return (row[0], row[1]) if row else None


def tokens_of(session: Session, user_id: str) -> list[ApiToken]:
    """A user's tokens that are not revoked, newest first."""
    query = select(ApiToken).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    return list(session.scalars(query.order_by(ApiToken.created_at.desc(), ApiToken.id)))


def touch_token(session: Session, token_id: str, at: datetime) -> None:
    """Note when a token was used."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=at))
