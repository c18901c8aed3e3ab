"""HTTP of sign-in, the current session, and API tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from orfila import __version__
from orfila.errors import TooManyRequests
from orfila.identity import schemas, service
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.web.dependencies import LimitsDep, SessionDep, SettingsDep, SubjectDep, cookie_name

public = APIRouter(prefix="/api/v1", tags=["identity"])
router = APIRouter(prefix="/api/v1", tags=["identity"])


def _described(subject: Subject, user: User) -> schemas.Session:
    return schemas.Session(
        user=schemas.User.model_validate(user),
        via=subject.via,
        scopes=list(subject.scopes),
        expires_at=subject.expires_at,
        version=__version__,
    )


@public.post("/session")
def sign_in(
    body: schemas.SignIn,
    request: Request,
    response: Response,
    session: SessionDep,
    settings: SettingsDep,
    limits: LimitsDep,
) -> schemas.Session:
    """Redeem the code of a sign-in link for a session cookie."""
    if not limits.sign_ins.take(request.client.host if request.client else "unknown"):
        raise TooManyRequests("Too many sign-ins from this address; wait a minute.")
    secret, subject, user = service.redeem(session, body.code, settings)
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
    return _described(subject, user)


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
