"""A large upload in the browser, over a server that is killed, a reload, a pause and a line that breaks."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from conftest import Server, Watched
from playwright.sync_api import Page, expect

from orfila.client import Client

pytestmark = pytest.mark.browser
SIZE = 96 * 2**20
BYTES_PER_SECOND = 12 * 2**20


def share(page: Page) -> float:
    """How much of the file the page says was sent, 0 to 100."""
    return float(page.get_by_role("progressbar", name="Upload progress").get_attribute("aria-valuenow") or 0)


def wait_for(page: Page, least: float) -> None:
    page.wait_for_function(
        "least => Number(document.querySelector('[role=progressbar][aria-label=\"Upload progress\"]')"
        "?.getAttribute('aria-valuenow')) >= least",
        arg=least,
        timeout=60_000,
    )


def test_an_upload_survives_what_happens_to_uploads(server: Server, watched: Watched, tmp_path: Path) -> None:
    data = b"PK\x03\x04" + os.urandom(SIZE - 4)
    file = tmp_path / "evidence.zip"
    file.write_bytes(data)
    page = watched.page
    with Client.sign_in(server.another_link()) as client:
        project = client.projects()[0].id
        page.goto(server.another_link())
        page.wait_for_url(re.compile(r"/$"))
        line = page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": BYTES_PER_SECOND}
        line.send("Network.enable")
        line.send("Network.emulateNetworkConditions", slow)

        def choose() -> None:
            page.goto(f"{server.address}/p/{project}/datasets")
            page.get_by_label("File to upload: dataset").set_input_files(str(file))

        choose()
        wait_for(page, 15)
        expect(page.get_by_text(re.compile(r"MB/s · .* left"))).to_be_visible()
        server.kill_api()
        wait_for(page, 40)

        page.get_by_role("button", name="Pause upload").click()
        page.wait_for_timeout(1500)
        before = share(page)
        page.wait_for_timeout(1000)
        assert share(page) == before, "paused"
        choose()  # a reload: the page knows nothing any more, the server and the file do
        page.wait_for_function("document.querySelector('[role=progressbar]') !== null")
        wait_for(page, 1)
        assert share(page) >= before - 100 * 2 * BYTES_PER_SECOND / SIZE, "it went on from what was safe"

        wait_for(page, 55)
        line.send("Network.emulateNetworkConditions", slow | {"offline": True})
        page.wait_for_timeout(2500)
        line.send("Network.emulateNetworkConditions", slow)
        expect(page.get_by_role("button", name="Read data set")).to_be_visible(timeout=60_000)
        finished = [u for u in client.uploads(project) if u.filename == "evidence.zip"]
        assert [(u.state, u.sha256) for u in finished] == [("finished", hashlib.sha256(data).hexdigest())]
