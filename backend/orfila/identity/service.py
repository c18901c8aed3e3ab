"""Rules of signing in: one-time codes, passwords, browser sessions, API tokens.

Every secret but a password has 256 random bits, so a plain SHA-256 is enough to keep it by: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.db import now
from orfila.errors import Forbidden, NotFound, Unauthenticated, Unprocessable
from orfila.identity import passwords, repository
from orfila.identity.models import ApiToken, BrowserSession, SignInCode, User
from orfila.identity.schemas import PasswordChange, Scope, SignInMethod, TokenCreate
from orfila.identity.subject import Origin, Subject
from orfila.projects.service import ensure_default_project
from orfila.settings import Settings

LOCAL_ADMINISTRATOR = "Administrator"
CODE_LIFETIME = timedelta(hours=24)
TOKEN_PREFIX = "orf_"  # noqa: S105 - a mark that secret scanners can find, not a secret
_ALL_SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
_TOUCH_EVERY = timedelta(minutes=1)
_RESET_WITHIN = timedelta(hours=1)
"""After signing in by a link, so long a new password may be set without the old one."""


def hash_secret(secret: str) -> str:
    """How a secret is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_user(
    session: Session, name: str, *, email: str | None = None, is_administrator: bool = False, actor: str = "system"
) -> User:
    """Add a person; raises Unprocessable when the name is taken. actor: name of who does it."""
    if repository.user_named(session, name) is not None:
        raise Unprocessable(f"There is a user '{name}' already; choose another name.")
    user = User(name=name, email=email, is_administrator=is_administrator)
    session.add(user)
    session.flush()
    record(session, actor, "user.created", "user", user.id, None, {"name": name, "administrator": is_administrator})
    return user


def named(session: Session, name: str) -> User:
    """The user of that name. Raises NotFound."""
    user = repository.user_named(session, name)
    if user is None:
        raise NotFound(f"There is no user '{name}'.")
    return user


def ensure_local_administrator(session: Session) -> User:
    """The administrator of this machine, made on the first call together with a first project."""
    user = repository.user_named(session, LOCAL_ADMINISTRATOR)
    if user is None:
        user = create_user(session, LOCAL_ADMINISTRATOR, is_administrator=True)
    ensure_default_project(session, user)
    return user


def local_subject(session: Session) -> Subject:
    """The local administrator as the one who acts, for commands on this machine."""
    user = ensure_local_administrator(session)
    return Subject(
        user_id=user.id,
        name=user.name,
        is_administrator=True,
        scopes=_ALL_SCOPES,
        via="session",
        expires_at=None,
        credential_id="",
    )


def issue_code(session: Session, user: User, actor: str = "system") -> str:
    """A code that signs this user in once, within a day. actor: name of who asked for it."""
    code = secrets.token_urlsafe(32)
    session.add(SignInCode(code_hash=hash_secret(code), user_id=user.id, expires_at=now() + CODE_LIFETIME))
    record(session, actor, "sign_in_link.created", "user", user.id, None, {"name": user.name})
    return code


def sign_in_link(session: Session, settings: Settings, name: str = LOCAL_ADMINISTRATOR) -> str:
    """A one-time link for a user. The code stands after '#', which browsers do not send, so no log can hold it."""
    user = ensure_local_administrator(session) if name == LOCAL_ADMINISTRATOR else named(session, name)
    if user.disabled_at is not None:
        raise Unprocessable(f"'{name}' is disabled; enable the account first.")
    return link_of(settings, issue_code(session, user))


def link_of(settings: Settings, code: str) -> str:
    """The link that holds a code."""
    return f"{base_url(settings)}/signin#code={code}"


def base_url(settings: Settings) -> str:
    """The address that people open, without a slash at the end."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return (settings.public_url or f"http://{host}:{settings.port}").rstrip("/")


def redeem(session: Session, code: str, settings: Settings, origin: Origin) -> tuple[str, Subject, User]:
    """Turn a code into a browser session: its secret, the subject, the user. Raises Unauthenticated."""
    user_id = repository.take_code(session, hash_secret(code), now())
    user = session.get(User, user_id) if user_id else None
    if user is None or user.disabled_at is not None:
        raise Unauthenticated(
            "This sign-in link was used before or is too old; ask for a new one (`orfila user link`).",
            code="sign_in_code_invalid",
        )
    return start_session(session, user, "link", settings, origin)


def sign_in_with_password(
    session: Session, name: str, password: str, settings: Settings, origin: Origin
) -> tuple[str, Subject, User]:
    """As `redeem`, with a name and a password. Raises Unauthenticated, with one sentence for every reason."""
    user = repository.user_named(session, name)
    right = passwords.matches(user.password_hash if user else None, password)
    if user is None or not right or user.disabled_at is not None:
        raise Unauthenticated("Name and password do not belong together.", code="wrong_password")
    assert user.password_hash is not None, "it matched"
    if passwords.needs_new_hash(user.password_hash):
        user.password_hash = passwords.make_hash_again(password)
    return start_session(session, user, "password", settings, origin)


def start_session(
    session: Session, user: User, method: SignInMethod, settings: Settings, origin: Origin
) -> tuple[str, Subject, User]:
    """A browser session of a user who has shown who they are: its secret, the subject, the user."""
    repository.forget_expired(session, now())
    secret = secrets.token_urlsafe(32)
    row = BrowserSession(
        secret_hash=hash_secret(secret),
        user_id=user.id,
        method=method,
        address=origin.address,
        browser=origin.browser,
        expires_at=now() + timedelta(hours=settings.session_hours),
    )
    session.add(row)
    session.flush()
    record(session, user.name, "session.started", "user", user.id, None, {"method": method})
    return secret, _of_session(row, user), user


def set_password(session: Session, subject: Subject, body: PasswordChange) -> None:
    """Give the subject a password; every other session of theirs ends.

    Raises Forbidden for a token and for a wrong current password, Unprocessable for a weak new one.
    """
    user = session.get_one(User, subject.user_id)
    row = session.get(BrowserSession, subject.credential_id) if subject.via == "session" else None
    if row is None:
        raise Forbidden("A token cannot change a password; sign in with the browser.")
    fresh_link = row.method == "link" and row.created_at > now() - _RESET_WITHIN
    must_show = user.password_hash is not None and not fresh_link
    if must_show and not passwords.matches(user.password_hash, body.current or ""):
        raise Forbidden("That is not your current password.", code="wrong_password")
    user.password_hash = passwords.make_hash(body.new, user.name)
    ended = repository.end_sessions_of(session, user.id, but=row.secret_hash)
    record(session, user.name, "password.changed", "user", user.id, None, {"sessions_ended": ended})


def list_sessions(session: Session, subject: Subject) -> list[BrowserSession]:
    """The subject's own sessions."""
    return repository.sessions_of(session, subject.user_id, now())


def end_session(session: Session, subject: Subject, session_id: str) -> None:
    """End one of one's own sessions, wherever it is."""
    found = next((s for s in list_sessions(session, subject) if s.id == session_id), None)
    if found is None:
        raise NotFound("You have no such session.")
    repository.end_browser_session(session, found.secret_hash)
    record(session, subject.name, "session.ended", "user", subject.user_id, None, {"session": session_id})


def end_other_sessions(session: Session, subject: Subject) -> int:
    """End all of one's own sessions but this one; how many there were."""
    ended = repository.end_sessions_of(session, subject.user_id, but=subject.credential_id)
    if ended:
        record(session, subject.name, "sessions.ended", "user", subject.user_id, None, {"count": ended})
    return ended


def authenticate(session: Session, cookie: str | None, bearer: str | None) -> Subject | None:
    """Who presents this cookie or token, if anybody. A token, where one is sent, decides alone."""
    at = now()
    if bearer is not None:
        found = repository.token_by_secret(session, hash_secret(bearer), at)
        if found is None:
            return None
        token, user = found
        return Subject(
            user_id=user.id,
            name=user.name,
            is_administrator=user.is_administrator and "admin" in token.scopes,
            scopes=tuple(token.scopes),
            via="token",
            expires_at=token.expires_at,
            credential_id=token.id,
        )
    if cookie is not None:
        signed_in = repository.browser_session(session, hash_secret(cookie), at)
        if signed_in is not None:
            return _of_session(*signed_in)
    return None


def note_use(session: Session, subject: Subject) -> None:
    """Remember when a token or session was last used, to the minute."""
    if needs_note(session, subject):
        touch = repository.touch_token if subject.via == "token" else repository.touch_session
        touch(session, subject.credential_id, now())


def needs_note(session: Session, subject: Subject) -> bool:
    """Whether `note_use` would write, so that reading requests need no write transaction."""
    if subject.via == "token":
        token = session.get(ApiToken, subject.credential_id)
        return token is not None and (token.last_used_at is None or token.last_used_at < now() - _TOUCH_EVERY)
    row = session.get(BrowserSession, subject.credential_id)
    return row is not None and row.last_seen_at < now() - _TOUCH_EVERY


def sign_out(session: Session, subject: Subject) -> None:
    """End the session, or revoke the token, that this request came with."""
    if subject.via == "session":
        repository.end_browser_session(session, subject.credential_id)
    else:
        revoke_token(session, subject, subject.credential_id)
    record(session, subject.name, "session.ended", "user", subject.user_id, None, {})


def create_token(session: Session, subject: Subject, body: TokenCreate) -> tuple[ApiToken, str]:
    """A token that acts for the subject, with no more than the subject may do, and its secret."""
    exceeding = sorted(set(body.scopes) - set(subject.scopes))
    if exceeding:
        raise Forbidden(f"You may not give a token the scope '{exceeding[0]}', which you do not have yourself.")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        user_id=subject.user_id,
        name=body.name,
        secret_hash=hash_secret(secret),
        scopes=sorted(set(body.scopes), key=_ALL_SCOPES.index),
        expires_at=now() + timedelta(days=body.expires_in_days),
    )
    session.add(token)
    session.flush()
    record(session, subject.name, "token.created", "token", token.id, None, {"name": body.name, "scopes": token.scopes})
    return token, secret


def list_tokens(session: Session, subject: Subject) -> list[ApiToken]:
    """The subject's own tokens."""
    return repository.tokens_of(session, subject.user_id)


def revoke_token(session: Session, subject: Subject, token_id: str) -> None:
    """Make one of one's own tokens useless at once."""
    token = session.get(ApiToken, token_id)
    if token is None or token.user_id != subject.user_id or token.revoked_at is not None:
        raise NotFound("You have no such token.")
    token.revoked_at = now()
    record(session, subject.name, "token.revoked", "token", token.id, None, {"name": token.name})


def _of_session(row: BrowserSession, user: User) -> Subject:
    scopes: tuple[Scope, ...] = _ALL_SCOPES if user.is_administrator else ("read", "write")
    return Subject(
        user_id=user.id,
        name=user.name,
        is_administrator=user.is_administrator,
        scopes=scopes,
        via="session",
        expires_at=row.expires_at,
        credential_id=row.secret_hash,
    )
