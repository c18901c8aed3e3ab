"""HTTP of signing in, one's own sessions, password and API tokens, and the accounts of an installation."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from orfila import __version__
from orfila.errors import OrfilaError, TooManyRequests
from orfila.identity import oidc, people, schemas, service
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.settings import Settings
from orfila.web.dependencies import (
    DatabaseDep,
    LimitsDep,
    OriginDep,
    SessionDep,
    SettingsDep,
    SubjectDep,
    cookie_name,
)

public = APIRouter(prefix="/api/v1", tags=["identity"])
router = APIRouter(prefix="/api/v1", tags=["identity"])

STATE_COOKIE = "orfila_oidc"
_MAX_PATH = 2_000


def _described(subject: Subject, user: User) -> schemas.Session:
    return schemas.Session(
        user=schemas.User.model_validate(user),
        has_password=user.password_hash is not None,
        via=subject.via,
        scopes=list(subject.scopes),
        expires_at=subject.expires_at,
        version=__version__,
    )


def _give_cookie(response: Response, settings: Settings, secret: str) -> None:
    name = cookie_name(settings)
    response.set_cookie(
        name,
        secret,
        max_age=settings.session_hours * 3600,
        httponly=True,
        samesite="lax",
        secure=name.startswith("__Host-"),
        path="/",
    )


def _require_few_sign_ins(limits: LimitsDep, address: str | None) -> None:
    if not limits.sign_ins.take(address or "unknown"):
        raise TooManyRequests("Too many sign-ins from this address; wait a minute.")


@public.get("/sign-in")
def sign_in_ways(settings: SettingsDep) -> schemas.SignInWays:
    """How one may sign in here, beside a link and a password."""
    return schemas.SignInWays(provider=settings.oidc_name if settings.oidc_issuer else None)


@public.post("/session")
def sign_in(
    body: schemas.SignIn,
    response: Response,
    session: SessionDep,
    settings: SettingsDep,
    limits: LimitsDep,
    origin: OriginDep,
) -> schemas.Session:
    """Redeem the code of a sign-in link for a session cookie."""
    _require_few_sign_ins(limits, origin.address)
    secret, subject, user = service.redeem(session, body.code, settings, origin)
    _give_cookie(response, settings, secret)
    return _described(subject, user)


@public.post("/session/password")
def sign_in_with_password(
    body: schemas.PasswordSignIn,
    response: Response,
    session: SessionDep,
    settings: SettingsDep,
    limits: LimitsDep,
    origin: OriginDep,
) -> schemas.Session:
    """Sign in with a name and a password."""
    _require_few_sign_ins(limits, origin.address)
    if not limits.passwords.take(body.name.casefold()):
        raise TooManyRequests("Too many attempts for this name; wait five minutes, or ask for a sign-in link.")
    secret, subject, user = service.sign_in_with_password(session, body.name, body.password, settings, origin)
    _give_cookie(response, settings, secret)
    return _described(subject, user)


@public.get("/oidc/start", status_code=303, response_class=RedirectResponse)
def start_oidc(
    database: DatabaseDep,
    settings: SettingsDep,
    limits: LimitsDep,
    origin: OriginDep,
    next: Annotated[str, Query(max_length=_MAX_PATH)] = "/",
) -> RedirectResponse:
    """Go to the OpenID provider to sign in."""
    _require_few_sign_ins(limits, origin.address)
    try:
        with database.transaction() as session:
            address, state = oidc.begin(session, settings, _own_path(next))
    except OrfilaError as error:
        return _failed(error)
    answer = RedirectResponse(address, 303)
    seconds = int(oidc.ATTEMPT_LIFETIME.total_seconds())
    secure = cookie_name(settings).startswith("__Host-")
    answer.set_cookie(
        STATE_COOKIE, state, max_age=seconds, httponly=True, samesite="lax", secure=secure, path=oidc.CALLBACK
    )
    return answer


@public.get("/oidc/callback", status_code=303, response_class=RedirectResponse)
def finish_oidc(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    limits: LimitsDep,
    origin: OriginDep,
    state: Annotated[str | None, Query(max_length=256)] = None,
) -> RedirectResponse:
    """Come back from the OpenID provider with its answer."""
    _require_few_sign_ins(limits, origin.address)
    try:
        with database.transaction() as session:
            attempt = oidc.take(session, state, request.cookies.get(STATE_COOKIE))
            destination = attempt.destination
        # As the provider sees the address: behind a proxy the request has another one.
        answered = f"{service.base_url(settings)}{oidc.CALLBACK}?{request.url.query}"
        claims = oidc.ask_who(settings, answered, attempt)
        with database.transaction() as session:
            user = oidc.user_of(session, settings, claims)
            secret, _, _ = service.start_session(session, user, "oidc", settings, origin)
    except OrfilaError as error:
        answer = _failed(error)
    else:
        answer = RedirectResponse(destination, 303)
        _give_cookie(answer, settings, secret)
    answer.delete_cookie(STATE_COOKIE, path=oidc.CALLBACK)
    return answer


def _own_path(path: str) -> str:
    """Only a path of this site, so that no link leads elsewhere after signing in."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def _failed(error: OrfilaError) -> RedirectResponse:
    return RedirectResponse(f"/signin?problem={quote(error.code)}", 303)


@router.get("/session")
def current_session(session: SessionDep, subject: SubjectDep) -> schemas.Session:
    """Who is signed in, and how."""
    user = session.get(User, subject.user_id)
    assert user is not None, "the subject was authenticated a moment ago"
    return _described(subject, user)


@router.delete("/session", status_code=204)
def sign_out(response: Response, session: SessionDep, subject: SubjectDep, settings: SettingsDep) -> None:
    """End the session of this cookie; with a token, revoke it."""
    service.sign_out(session, subject)
    name = cookie_name(settings)
    response.delete_cookie(name, path="/", httponly=True, samesite="lax", secure=name.startswith("__Host-"))


@router.get("/sessions")
def list_sessions(session: SessionDep, subject: SubjectDep) -> list[schemas.BrowserSession]:
    """One's own sessions in browsers."""
    return [
        schemas.BrowserSession.model_validate(
            {**{f: getattr(row, f) for f in _SESSION_FIELDS}, "is_current": row.secret_hash == subject.credential_id}
        )
        for row in service.list_sessions(session, subject)
    ]


_SESSION_FIELDS = tuple(f for f in schemas.BrowserSession.model_fields if f != "is_current")


@router.delete("/sessions", status_code=204)
def end_other_sessions(session: SessionDep, subject: SubjectDep) -> None:
    """End all of one's own sessions but this one."""
    service.end_other_sessions(session, subject)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(session_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """End one of one's own sessions, wherever it is."""
    service.end_session(session, subject, session_id)


@router.put("/account/password", status_code=204)
def set_password(body: schemas.PasswordChange, session: SessionDep, subject: SubjectDep, limits: LimitsDep) -> None:
    """Set one's own password; every other session ends."""
    if not limits.passwords.take(subject.user_id):
        raise TooManyRequests("Too many attempts; wait five minutes.")
    service.set_password(session, subject, body)


@router.get("/tokens")
def list_tokens(session: SessionDep, subject: SubjectDep) -> list[schemas.Token]:
    """One's own API tokens."""
    return [schemas.Token.model_validate(t) for t in service.list_tokens(session, subject)]


@router.post("/tokens", status_code=201)
def create_token(
    body: schemas.TokenCreate, session: SessionDep, subject: SubjectDep, limits: LimitsDep
) -> schemas.TokenCreated:
    """A new API token. Its secret is shown in this answer only."""
    if not limits.tokens.take(subject.user_id):
        raise TooManyRequests("Too many new tokens; wait a minute.")
    token, secret = service.create_token(session, subject, body)
    return schemas.TokenCreated(**schemas.Token.model_validate(token).model_dump(), secret=secret)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Make one of one's own tokens useless at once."""
    service.revoke_token(session, subject, token_id)


@router.get("/users")
def list_users(session: SessionDep, subject: SubjectDep) -> list[schemas.Account]:
    """Everybody with an account, for administrators."""
    return people.list_accounts(session, subject)


@router.post("/users", status_code=201)
def invite_user(
    body: schemas.UserCreate, session: SessionDep, subject: SubjectDep, settings: SettingsDep
) -> schemas.SignInLink:
    """A new person, and the one-time link that lets them in, shown in this answer only."""
    return people.invite(session, subject, settings, body)


@router.patch("/users/{user_id}")
def change_user(user_id: str, body: schemas.UserChange, session: SessionDep, subject: SubjectDep) -> schemas.Account:
    """Change a person's address or rights, disable the account or enable it again."""
    return people.change(session, subject, user_id, body)


@router.post("/users/{user_id}/link", status_code=201)
def create_sign_in_link(
    user_id: str, session: SessionDep, subject: SubjectDep, settings: SettingsDep
) -> schemas.SignInLink:
    """A one-time link that lets a person back in, to set a new password."""
    return people.new_link(session, subject, settings, user_id)
