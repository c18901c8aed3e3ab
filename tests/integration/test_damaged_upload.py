"""The Python client over a line that damages bytes, and over one that breaks."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import Product

from orfila.client import Client, DamagedUpload

pytestmark = [pytest.mark.timeout(120), pytest.mark.parametrize("product", ["local"], indirect=True, scope="module")]
_SIZE = 24 * 2**20


@pytest.fixture(scope="module")
def token(product: Product) -> str:
    with Client.sign_in(product.start()) as client:
        return client.create_token("relay").secret


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "large.zip"
    path.write_bytes(b"PK\x03\x04" + os.urandom(_SIZE - 4))
    return path


@contextmanager
def relay(port: int, change: Callable[[bytes, int], bytes | None]) -> Iterator[str]:
    """A line to the product. change(bytes, how many came before on all connections) -> what is sent; None breaks it."""
    came = 0
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source: socket.socket, target: socket.socket, upward: bool) -> None:
        nonlocal came
        with suppress(OSError):
            while data := source.recv(65536):
                if upward:
                    before, came = came, came + len(data)
                    changed = change(data, before)
                    if changed is None:
                        break
                    data = changed
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=forward, args=(near, far, True), daemon=True).start()
                threading.Thread(target=forward, args=(far, near, False), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def test_a_damaged_byte_is_noticed_and_nothing_of_it_kept(product: Product, token: str, file: Path) -> None:
    spot = _SIZE // 2

    def damage(data: bytes, before: int) -> bytes:
        if before <= spot < before + len(data):
            at = spot - before
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data

    with relay(product.port, damage) as address, Client(address, token) as client:
        project = client.projects()[0].id
        with pytest.raises(DamagedUpload, match=r"large\.zip"):
            client.upload(project, file, "dataset")
        assert not [u for u in client.uploads(project) if u.filename == "large.zip"]


def test_a_line_that_breaks_is_taken_up_where_it_broke(product: Product, token: str, file: Path) -> None:
    breaks = iter((3 * 2**20, 9 * 2**20, 20 * 2**20))
    following, seen = next(breaks), []

    def cut(data: bytes, before: int) -> bytes | None:
        nonlocal following
        if before >= following:
            following = next(breaks, 2**60)
            return None
        return data

    with relay(product.port, cut) as address, Client(address, token, timeout=20) as client:
        project = client.projects()[0].id
        upload = client.upload(project, file, "dataset", lambda doing, share: seen.append(share))
    assert following == 2**60, "all three breaks happened"
    assert (upload.state, upload.size) == ("finished", _SIZE)
    assert sum(b < a for a, b in itertools.pairwise(seen)) <= 3
    assert seen[-1] == 1.0
