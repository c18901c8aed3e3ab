"""A real `orfila up` on a temporary folder and a free port, and a real Chromium that reports everything it dislikes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Page, Request, sync_playwright
from sample import Sample, make_sample

from benchmarks.chromium import FLAGS

START_SECONDS = 120
UI = Path(__file__).parents[2] / "backend" / "orfila" / "static" / "ui" / "index.html"


@dataclass
class Server:
    """A running server and the one-time link that it printed."""

    address: str
    link: str
    environment: dict[str, str]
    pid: int

    def kill_api(self) -> None:
        """As a crash would; `orfila up` starts it again."""
        for child in psutil.Process(self.pid).children():
            if "api" in child.cmdline():
                child.kill()

    def another_link(self) -> str:
        """A new one-time link, as `orfila user link` prints it."""
        command = [sys.executable, "-m", "orfila", "user", "link"]
        printed = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout
        return re.search(r"http://\S+/signin#code=\S+", printed)[0]  # type: ignore[index]


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not UI.exists():
        pytest.skip("the browser interface is not built: cd frontend && npm ci && npm run build")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    log = folder / "up.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORFILA_")} | {
        "ORFILA_DEVICE": "cpu",
        "ORFILA_PORT": str(port),
        "ORFILA_DATA_DIR": str(folder / "data"),
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "orfila", "up"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", _link(process, log), environment, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _link(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://\S+/signin#code=\S+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"orfila up printed no sign-in link:\n{log.read_text()}")


@pytest.fixture
def watched(server: Server) -> Iterator[Watched]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        seen = Watched(page)

        def leaves_the_machine(request: Request) -> None:
            host = urlsplit(request.url)
            if host.scheme in ("http", "https", "ws", "wss") and not request.url.startswith(server.address + "/"):
                seen.complaints.append(f"request off the machine: {request.url}")

        page.on("request", leaves_the_machine)
        page.on("pageerror", lambda error: seen.complaints.append(f"exception: {error}"))
        page.on(
            "console",
            lambda message: (
                seen.complaints.append(f"console {message.type}: {message.text} {message.location.get('url', '')}")
                # Chromium without a GPU says so of itself when a canvas is drawn by WebGL.
                if message.type in ("error", "warning") and "GPU stall due to ReadPixels" not in message.text
                else None
            ),
        )
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', e => "
            "console.error('content security policy: ' + e.violatedDirective + ' ' + e.blockedURI))"
        )
        yield seen
        browser.close()
