"""The built browser interface: hashed assets for ever, the page for every other address."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.exceptions import HTTPException

_NOT_BUILT = (
    "<!doctype html><html lang=en><title>Orfila</title><meta name=viewport content='width=device-width'>"
    "<body><h1>Orfila is running</h1><p>The browser interface is not built in this checkout: run <code>make demo</code>"
    ", or <code>npm ci &amp;&amp; npm run build</code> in <code>frontend/</code>.</p>"
    "<p>The API answers at <code>/api/v1</code>; its description is at <a href=/api/openapi.json>/api/openapi.json</a>."
)

router = APIRouter(include_in_schema=False)


@router.api_route("/{path:path}", methods=["GET", "HEAD"])
def interface(path: str, request: Request) -> Response:
    """A file of the built interface, or its page, which routes the address itself."""
    if path.startswith("api/"):
        raise HTTPException(404)
    root: Path = request.app.state.ui_dir
    # Only names that the build made are served: nothing of the address is joined to a path unchecked.
    target = _files(root).get(path) if path else None
    if target is not None:
        hashed = path.startswith("assets/")
        cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return FileResponse(target, headers={"cache-control": cache})
    if path.startswith("assets/"):
        raise HTTPException(404)
    page = root / "index.html"
    if not page.is_file():
        return HTMLResponse(_NOT_BUILT, 200)
    return FileResponse(page, headers={"cache-control": "no-cache"})


def _files(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {}
    return {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
