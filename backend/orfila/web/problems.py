"""Errors as RFC 9457 problem+json: a stable code and a sentence that says what to do."""

from __future__ import annotations

import errno
import traceback
from http import HTTPStatus
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from orfila.errors import NoSpace, OrfilaError
from orfila.schema_base import Problem

log = structlog.get_logger()


def install(app: FastAPI) -> None:
    """Answer every error with a problem."""
    app.add_exception_handler(OrfilaError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(OSError, _system)
    app.add_exception_handler(Exception, _unknown)


def problem(
    request_id: str | None,
    status: int,
    title: str,
    code: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response."""
    body = Problem(title=title, status=status, code=code, detail=detail, instance=request_id, errors=errors)
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type="application/problem+json"
    )


def _id(request: Request) -> str | None:
    return cast(str | None, request.scope.get("state", {}).get("request_id"))


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OrfilaError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return problem(_id(request), error.status, error.title, error.code, error.detail, headers=headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [{"field": ".".join(str(p) for p in e["loc"]), "message": _plain(e)} for e in error.errors()]
    first = fields[0] if fields else {"field": "body", "message": "not valid"}
    return problem(
        _id(request),
        422,
        "The request does not have the expected form",
        "invalid_request",
        f"{first['field']}: {first['message']}.",
        errors=fields,
    )


def _plain(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = {404: "There is nothing at this address.", 405: "This address does not take this method."}.get(
        error.status_code, str(error.detail)
    )
    code = "too_large" if error.status_code == 413 else phrase.lower().replace(" ", "_")
    headers = dict(error.headers) if error.headers else None
    return problem(_id(request), error.status_code, phrase, code, detail, headers=headers)


async def _database(request: Request, error: Exception) -> JSONResponse:
    if "database is locked" in str(error):
        return problem(
            _id(request), 503, "Busy", "database_busy", "The database is busy; try again in a moment.",
            headers={"Retry-After": "1"},
        )  # fmt: skip
    if "disk is full" in str(error) or "No space left" in str(error):  # SQLite's words, and PostgreSQL's
        return await _disk_full(request)
    return await _unknown(request, error)


async def _system(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    return await (_disk_full(request) if error.errno == errno.ENOSPC else _unknown(request, error))


async def _disk_full(request: Request) -> JSONResponse:
    log.error("no space left", request_id=_id(request), path=request.url.path)
    sentence = "The server's disk is full; nothing was changed. Free some space on it, then try again."
    return await _known(request, NoSpace(sentence, code="disk_full"))


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    # As plain text: structlog's rich traceback prints every local, which takes a minute for a data set's columns.
    text = "".join(traceback.format_exception(error))
    log.error("request failed", request_id=_id(request), path=request.url.path, exception=text)
    return problem(
        _id(request),
        500,
        "Something went wrong",
        "internal_error",
        f"The server made an error; nothing was changed. Quote {_id(request)} when you report it.",
    )
