"""Keyset cursors: where a page ended, as an opaque string that a client hands back."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session

from orfila.db import Owned
from orfila.errors import BadRequest


def encode_cursor(values: list[Any]) -> str:
    """An opaque cursor of plain JSON values."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, types: tuple[type, ...]) -> list[Any]:
    """The values of a cursor; raises BadRequest when it is not one of ours."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != len(types):
        raise _bad()
    for value, kind in zip(values, types, strict=True):
        fits = isinstance(value, int | float if kind is float else kind) and not isinstance(value, bool)
        if not fits or (isinstance(value, int) and abs(value) >= 2**63):  # more than a database's integers hold
            raise _bad()
    return values


def _bad() -> BadRequest:
    return BadRequest("The cursor is not one that this list gave; start again without it.", code="bad_cursor")


OwnedRow = TypeVar("OwnedRow", bound=Owned)


def newest_first(
    session: Session, query: Select[OwnedRow], row: type[OwnedRow], cursor: str | None, limit: int
) -> tuple[list[OwnedRow], str | None]:
    """One page of a query for rows of a table, newest first, and the cursor of the next page (None on the last)."""
    if cursor is not None:
        at, last = decode_cursor(cursor, (str, str))
        try:
            moment = datetime.fromisoformat(at)
        except ValueError as error:
            raise _bad() from error
        if moment.tzinfo is None:
            raise _bad()
        query = query.where(tuple_(row.created_at, row.id) < tuple_(moment, last))
    rows = list(session.scalars(query.order_by(row.created_at.desc(), row.id.desc()).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    end = rows[limit - 1]
    return rows[:limit], encode_cursor([end.created_at.isoformat(), end.id])
