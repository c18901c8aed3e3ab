"""Answers that carry files: pictures to show, and downloads that are never shown inline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.responses import FileResponse, Response, StreamingResponse

IMMUTABLE = {"cache-control": "private, max-age=31536000, immutable"}


def described(media_type: str) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes a route that answers with such a file."""
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


def picture(data: bytes, media_type: str = "image/png", *, immutable: bool = True) -> Response:
    """A picture that we made ourselves."""
    return Response(data, media_type=media_type, headers=IMMUTABLE if immutable else {"cache-control": "no-cache"})


def download(data: bytes | str, name: str, media_type: str = "application/octet-stream") -> Response:
    """Bytes to save, never to show."""
    return Response(data, media_type=media_type, headers={"content-disposition": _attachment(name)})


def download_file(path: Path, name: str, media_type: str = "application/octet-stream") -> FileResponse:
    """A stored file to save, never to show."""
    return FileResponse(path, media_type=media_type, headers={"content-disposition": _attachment(name)})


def stream(pieces: Iterator[bytes], name: str, media_type: str) -> StreamingResponse:
    """A file to save that is made while it is sent."""
    return StreamingResponse(pieces, media_type=media_type, headers={"content-disposition": _attachment(name)})


def _attachment(name: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name) or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
