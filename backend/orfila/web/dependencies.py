"""What endpoints ask for: settings, database, store, the caller, and a session that is one transaction."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from sqlalchemy.orm import Session

from orfila.db import Database
from orfila.errors import Forbidden, Unauthenticated
from orfila.identity import service as identity
from orfila.identity.subject import Origin, Subject
from orfila.settings import Settings
from orfila.storage import BlobStore
from orfila.web.limits import Limits

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = re.compile(r"Bearer (\S{16,256})", re.IGNORECASE)


def settings_of(request: Request) -> Settings:
    """The settings that the app was made with."""
    settings: Settings = request.app.state.settings
    return settings


def database_of(request: Request) -> Database:
    """The app's database."""
    database: Database = request.app.state.database
    return database


def store_of(request: Request) -> BlobStore:
    """The app's store of files."""
    store: BlobStore = request.app.state.store
    return store


def limits_of(request: Request) -> Limits:
    """The app's rate limits."""
    limits: Limits = request.app.state.limits
    return limits


LimitsDep = Annotated[Limits, Depends(limits_of)]
SettingsDep = Annotated[Settings, Depends(settings_of)]
DatabaseDep = Annotated[Database, Depends(database_of)]
StoreDep = Annotated[BlobStore, Depends(store_of)]


THREADS = 80
"""Of the process, for requests that do not wait in the event loop."""


def session_of(request: Request, database: DatabaseDep) -> Iterator[Session]:
    """One transaction for the request: read-only for safe methods, so that readers wait for no writer."""
    with database.reading() if request.method in SAFE_METHODS else database.transaction() as session:
        yield session


# scope="function": committed after the endpoint returned and before the answer is sent, so that nobody is told of
# something that could still be lost.
# max_concurrency, fewer than THREADS: a request that writes needs a thread once more before it commits, to check its
# answer. Were all threads held by requests that wait for it to commit, nobody would go on.
SessionDep = Annotated[Session, Depends(session_of, scope="function", max_concurrency=24)]


def cookie_name(settings: Settings) -> str:
    """`__Host-` binds the cookie to this host over TLS; plain http on loopback cannot set such a name."""
    return "__Host-orfila" if identity.base_url(settings).startswith("https://") else "orfila_session"


_noting = threading.Lock()


def subject_of(request: Request, database: DatabaseDep, settings: SettingsDep) -> Subject:
    """The caller; raises Unauthenticated (401), or Forbidden for a token without the scope.

    It opens a transaction of its own, since uploads and event streams must not hold one while they run.
    """
    header = request.headers.get("authorization")
    bearer = None
    if header is not None:
        match = _BEARER.fullmatch(header)
        if match is None:
            raise Unauthenticated("Send the token as `Authorization: Bearer orf_...`.", code="bad_authorization_header")
        bearer = match[1]
    with database.reading() as session:
        subject = identity.authenticate(session, request.cookies.get(cookie_name(settings)), bearer)
        note = subject is not None and identity.needs_note(session, subject)
    if subject is None:
        what = "This token is unknown, expired or revoked" if bearer else "You are not signed in"
        raise Unauthenticated(f"{what}; open a sign-in link (`orfila user link`) or send a token.")
    # One request at a time, and no other waits for it: a hundred people who come back at once would each hold a thread
    # while they wait for the one that writes, which needs a thread to end. Who is passed over is noted next time.
    if note and _noting.acquire(blocking=False):
        try:
            with database.transaction() as session:
                identity.note_use(session, subject)
        finally:
            _noting.release()
    needed = "read" if request.method in SAFE_METHODS else "write"
    if needed not in subject.scopes and "admin" not in subject.scopes:
        raise Forbidden(f"This token lacks the scope '{needed}'.", code="scope_missing")
    return subject


SubjectDep = Annotated[Subject, Depends(subject_of)]


def origin_of(request: Request) -> Origin:
    """Where a request comes from."""
    browser = request.headers.get("user-agent")
    return Origin(request.client.host[:45] if request.client else None, browser[:200] if browser else None)


OriginDep = Annotated[Origin, Depends(origin_of)]

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=512)]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=128)]
