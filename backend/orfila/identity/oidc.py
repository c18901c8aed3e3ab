"""Signing in with an OpenID provider: authorization code with PKCE (RFC 7636), state and nonce.

The browser is sent to the provider with a state that stands here, as a hash, and in a cookie of that browser; both must
come back, so that nobody is signed in by somebody else's answer. Who it is, the signed ID token says. A person is known
by issuer and subject alone: a name or an address that two accounts share joins nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.db import now
from orfila.errors import Forbidden, NotFound, Unauthenticated, Unprocessable
from orfila.identity import repository
from orfila.identity.models import ExternalIdentity, OidcAttempt, User
from orfila.identity.service import base_url, create_user, hash_secret
from orfila.projects.service import follow_groups
from orfila.settings import Settings

CALLBACK = "/api/v1/oidc/callback"
ATTEMPT_LIFETIME = timedelta(minutes=10)
ADMINISTRATOR = "administrator"
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures with a public key. Never "none", and no shared secret."""
_LEEWAY_SECONDS = 60
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Claims:
    """What the provider says of a person."""

    issuer: str
    subject: str
    name: str
    email: str | None
    groups: frozenset[str]


def begin(session: Session, settings: Settings, destination: str) -> tuple[str, str]:
    """The address at the provider to send a browser to, and the state for its cookie.

    destination: path of this site to go to afterwards. Raises NotFound where no provider is set up.
    """
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    with _client(settings) as client:
        address, _ = client.create_authorization_url(
            _metadata(client, settings)["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
        )
    session.add(
        OidcAttempt(
            state_hash=hash_secret(state),
            nonce=nonce,
            code_verifier=verifier,
            destination=destination,
            expires_at=now() + ATTEMPT_LIFETIME,
        )
    )
    return address, state


def take(session: Session, state: str | None, cookie: str | None) -> OidcAttempt:
    """The attempt that an answer belongs to; it can be answered once. Raises Unauthenticated."""
    if not state or not cookie or not secrets.compare_digest(state, cookie):
        raise Unauthenticated("This answer belongs to another browser; start again.", code="provider_state")
    attempt = repository.take_attempt(session, hash_secret(state), now())
    if attempt is None:
        raise Unauthenticated("This sign-in was finished before, or took too long; start again.", code="provider_state")
    return attempt


def ask_who(settings: Settings, address: str, attempt: OidcAttempt) -> Claims:
    """Exchange the code of an answer, whose whole address is given, for who it is. Raises Unauthenticated."""
    try:
        with _client(settings) as client:
            metadata = _metadata(client, settings)
            token = client.fetch_token(
                metadata["token_endpoint"], authorization_response=address, code_verifier=attempt.code_verifier
            )
            keys = client.request("GET", metadata["jwks_uri"], withhold_token=True).raise_for_status().json()
        signed = jwt.decode(token["id_token"], KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
        options = {
            "iss": {"essential": True, "value": metadata["issuer"]},
            "aud": {"essential": True, "value": settings.oidc_client_id},
        }
        expected = {"nonce": attempt.nonce, "client_id": settings.oidc_client_id, "access_token": token["access_token"]}
        claims = CodeIDToken(signed.claims, signed.header, options, expected)
        claims.validate(leeway=_LEEWAY_SECONDS)
    except (httpx.HTTPError, OAuthError, JoseError, KeyError, ValueError) as error:
        raise Unauthenticated(f"{settings.oidc_name} did not confirm who you are.", code="provider_failed") from error
    return _claims(claims, settings)


def user_of(session: Session, settings: Settings, claims: Claims) -> User:
    """The user whom the provider named, made at the first sign-in; their rights follow their groups.

    Raises Forbidden for somebody in none of the groups that are let in, and for a disabled account.
    """
    given = {settings.oidc_groups[group] for group in claims.groups if group in settings.oidc_groups}
    if settings.oidc_groups and not given:
        raise Forbidden("You are in none of the groups that may use Orfila.", code="provider_groups")
    user = repository.user_of_identity(session, claims.issuer, claims.subject)
    if user is None:
        user = create_user(session, _free_name(session, claims), email=claims.email, actor=settings.oidc_name)
        session.add(ExternalIdentity(issuer=claims.issuer, subject=claims.subject, user_id=user.id))
    if user.disabled_at is not None:
        raise Forbidden("This account is disabled.", code="provider_disabled")
    if settings.oidc_groups:
        _follow(session, settings, user, given)
    return user


def _follow(session: Session, settings: Settings, user: User, given: set[str]) -> None:
    mapped = set(settings.oidc_groups.values())
    if ADMINISTRATOR in mapped and user.is_administrator != (ADMINISTRATOR in given):
        user.is_administrator = ADMINISTRATOR in given
        detail = {"name": user.name, "administrator": user.is_administrator}
        record(session, settings.oidc_name, "user.changed", "user", user.id, None, detail)
    follow_groups(session, settings.oidc_name, user.id, mapped - {ADMINISTRATOR}, given - {ADMINISTRATOR})


def _free_name(session: Session, claims: Claims) -> str:
    host = urlsplit(claims.issuer).hostname or claims.issuer
    for name in (claims.name, f"{claims.name} ({host})"):
        if repository.user_named(session, name) is None:
            return name
    return f"{claims.name} ({host}, {claims.subject[:40]})"


def _claims(token: dict[str, Any], settings: Settings) -> Claims:
    name = next((str(token[k]) for k in ("name", "preferred_username", "email") if token.get(k)), str(token["sub"]))
    groups = token.get(settings.oidc_groups_claim)
    return Claims(
        issuer=str(token["iss"]),
        subject=str(token["sub"]),
        name=" ".join(name.split())[:80],
        email=str(token["email"])[:255] if token.get("email") else None,
        groups=frozenset(str(g) for g in groups) if isinstance(groups, list) else frozenset(),
    )


def _client(settings: Settings) -> OAuth2Client:
    if settings.oidc_issuer is None:
        raise NotFound("No OpenID provider is set up here.")
    secret = settings.oidc_client_secret
    return OAuth2Client(
        settings.oidc_client_id,
        None if secret is None else secret.get_secret_value(),
        token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
        scope=settings.oidc_scopes,
        redirect_uri=base_url(settings) + CALLBACK,
        code_challenge_method="S256",
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,
    )


def _metadata(client: OAuth2Client, settings: Settings) -> dict[str, Any]:
    """The provider's own description. It must be that of the issuer that was asked for."""
    issuer = settings.oidc_issuer or ""
    try:
        answer = client.request(
            "GET", get_well_known_url(issuer, external=True), withhold_token=True
        ).raise_for_status()
        metadata: dict[str, Any] = answer.json()
        if metadata["issuer"].rstrip("/") != issuer.rstrip("/"):
            raise ValueError("another issuer")
        _ = metadata["authorization_endpoint"], metadata["token_endpoint"], metadata["jwks_uri"]
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise Unprocessable(f"{settings.oidc_name} does not answer as a provider.", code="provider_failed") from error
    return metadata
