"""Plain copies of a file through HTTP, to compare an upload with. A server writes the body to a file and syncs it.

`python -m benchmarks.copying KIND PORT TARGET` serves one file; KIND is `raw` (Python's own http.server, which knows of
nothing but sockets) or `uvicorn` (the product's server, with an application of ten lines).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Literal

import httpx

from benchmarks.product import free_port

Kind = Literal["raw", "uvicorn"]
BLOCK = 2**20
_START_SECONDS = 20.0


@contextmanager
def server(kind: Kind, target: Path) -> Iterator[str]:
    """A server in a process of its own; its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.copying", kind, str(port), str(target)])
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                httpx.put(address, content=b"")
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


def copy(source: Path, address: str) -> float:
    """Seconds of sending a file."""

    def pieces() -> Iterator[bytes]:
        with source.open("rb") as file:
            while piece := file.read(BLOCK):
                yield piece

    began = time.perf_counter()
    headers = {"Content-Length": str(source.stat().st_size)}
    httpx.put(address, content=pieces(), headers=headers, timeout=None).raise_for_status()
    return time.perf_counter() - began


def _serve_raw(port: int, target: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            left = int(self.headers["Content-Length"])
            with target.open("wb") as file:
                while left > 0:
                    piece = self.rfile.read(min(left, BLOCK))
                    file.write(piece)
                    left -= len(piece)
                file.flush()
                os.fsync(file.fileno())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _serve_uvicorn(port: int, target: Path) -> None:
    import uvicorn

    async def application(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        with target.open("wb", buffering=BLOCK) as file:
            more = True
            while more:
                message = await receive()
                file.write(message.get("body", b""))
                more = message.get("more_body", False)
            file.flush()
            os.fsync(file.fileno())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    uvicorn.run(application, port=port, lifespan="off", log_level="error", access_log=False)  # type: ignore[arg-type]


if __name__ == "__main__":
    {"raw": _serve_raw, "uvicorn": _serve_uvicorn}[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
