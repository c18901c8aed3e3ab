"""Pure ASGI middleware: request id, Host and Origin checks, size of bodies, security headers.

The order, outermost first: RequestId, SecurityHeaders, HostCheck, OriginCheck, BodyLimit, application.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orfila.logs import bound

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Plotly writes style elements
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_log = structlog.get_logger("orfila.http")


class RequestId:
    """Gives every request an id, in `scope["state"]`, in the answer and in every log line; logs the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under a new id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 500

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with bound(request_id=request_id):
            try:
                await self.app(scope, receive, with_id)
            finally:
                # The path without what follows the question mark, which a person may have typed.
                told = _log.info if _is_worth_a_line(scope) else _log.debug
                milliseconds = round((time.perf_counter() - began) * 1000, 1)
                told("answered", method=scope["method"], path=scope["path"], status=status, milliseconds=milliseconds)


def _is_worth_a_line(scope: Scope) -> bool:
    """What changes something; a page asks for dozens of pictures, and watchers ask every second."""
    return scope["method"] not in _SAFE


class SecurityHeaders:
    """Adds the security headers to every answer; API answers are not cached unless they say so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and dress its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, with_headers)


class HostCheck:
    """Refuses requests for a host that is not ours: a foreign name that resolves to this machine (DNS rebinding)."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self.app = app
        self.allowed = frozenset(h.lower() for h in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and _host_name(Headers(scope=scope).get("host", "")) not in self.allowed:
            await _refuse(
                scope, send, 421, "host_not_allowed", "This host name is not served; add it to ORFILA_ALLOWED_HOSTS."
            )
            return
        await self.app(scope, receive, send)


class OriginCheck:
    """Refuses unsafe requests that a page of another origin sends with a browser's cookie.

    A browser sends `Origin` with every unsafe request; programs send none. A request with a bearer token carries no
    ambient authority, but a wrong Origin is refused there as well: it is always a mistake.
    """

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self.app = app
        self.public = _origin(public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            own = (scope["scheme"], headers.get("host", "").lower())
            foreign = origin is not None and _origin(origin) not in (own, self.public)
            if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                await _refuse(scope, send, 403, "origin_not_allowed", "Requests from other web pages are refused.")
                return
        await self.app(scope, receive, send)


class BodyLimit:
    """Refuses bodies that no JSON request needs; the transfers of uploads have limits of their own."""

    def __init__(self, app: ASGIApp, limit: int = 8 * 2**20) -> None:
        self.app = app
        self.limit = limit
        self._sentence = f"A request may have at most {limit:,} bytes; send files as uploads."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a receive that counts; a longer body is cut off with 413."""
        if scope["type"] != "http" or _is_transfer(scope):
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self.limit:
            await _refuse(scope, send, 413, "too_large", self._sentence)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise HTTPException(413, self._sentence)  # the one kind that FastAPI lets through while it reads
            return message

        await self.app(scope, counted, send)


def _is_transfer(scope: Scope) -> bool:
    path: str = scope["path"]
    method: str = scope["method"]
    return (method == "PATCH" and path.startswith("/api/v1/uploads/")) or (
        method == "POST" and path.startswith("/api/v1/projects/") and path.endswith("/uploads/file")
    )


def _host_name(host: str) -> str:
    """The Host header without its port, lower-case; brackets of IPv6 stay."""
    host = host.lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


async def _refuse(scope: Scope, send: Send, status: int, code: str, detail: str) -> None:
    body = {
        "type": "about:blank",
        "title": "Refused",
        "status": status,
        "code": code,
        "detail": detail,
        "instance": scope.get("state", {}).get("request_id"),
    }
    headers = [(b"content-type", b"application/problem+json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
