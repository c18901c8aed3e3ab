"""Uploads into a bucket: from one server or several, in pieces of any size, with late writers and killed servers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from stacks import BUCKET, Seaweed
from starlette.testclient import TestClient
from test_s3 import seaweed

from orfila.app import create_app
from orfila.db import now
from orfila.identity.service import sign_in_link
from orfila.migrations import migrate
from orfila.settings import Settings
from orfila.storage import get_partial_files, get_store
from orfila.storage.s3_partial import LEAST_PART_BYTES, SEGMENT_BYTES
from orfila.uploads import digests
from orfila.uploads.models import Upload

__all__ = ["seaweed"]
pytestmark = pytest.mark.timeout(240)
TUS = {"Content-Type": "application/offset+octet-stream"}


class Hosts:
    """Two servers on folders of their own, with one database and one bucket."""

    def __init__(self, seaweed: Seaweed, folder: Path, prefix: str) -> None:
        database = f"sqlite:///{folder / 'shared.db'}"
        migrate(database)
        self.folders = [folder / "a", folder / "b"]
        self.settings = [
            Settings(
                data_dir=path,
                database_url=database,
                storage_url=f"s3://{BUCKET}/{prefix}",
                s3_endpoint_url=seaweed.address,
            )
            for path in self.folders
        ]
        self.clients = []
        for settings in self.settings:
            settings.data_dir.mkdir()
            app = create_app(settings, ui_dir=folder / "ui")
            client = TestClient(app, base_url="http://127.0.0.1:8000")
            with app.state.database.transaction() as session:
                code = sign_in_link(session, settings).partition("code=")[2]
            client.post("/api/v1/session", json={"code": code}).raise_for_status()
            self.clients.append(client)
        self.database = app.state.database
        self.project = self.clients[0].get("/api/v1/projects").json()[0]["id"]

    def reserve(self, size: int) -> dict[str, str]:
        body = {"filename": "large.zip", "size": size, "purpose": "dataset"}
        answer = self.clients[0].post(f"/api/v1/projects/{self.project}/uploads", json=body)
        answer.raise_for_status()
        made: dict[str, str] = answer.json()
        return made

    def send(self, host: int, upload: dict[str, str], offset: int, data: bytes) -> int:
        digests.forget(upload["id"])  # the two are one process here, and must not help each other
        headers = TUS | {"Upload-Offset": str(offset)}
        return self.clients[host].patch(upload["location"], content=data, headers=headers).status_code

    def offset(self, host: int, upload: dict[str, str]) -> int:
        return int(self.clients[host].head(upload["location"]).headers["upload-offset"])

    def finished(self, upload: dict[str, str], data: bytes) -> None:
        """The upload is whole, and its bytes are under their digest."""
        told = self.clients[1].get(upload["location"]).json()
        assert (told["state"], told["sha256"]) == ("finished", hashlib.sha256(data).hexdigest())
        with get_store(self.settings[1]).open(told["sha256"]) as file:
            assert file.read() == data
        assert not any((folder / "uploads").exists() for folder in self.folders)


@pytest.fixture
def hosts(seaweed: Seaweed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    prefix = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    made = Hosts(seaweed, tmp_path, prefix)
    yield made
    keys = made.clients[0].get(f"/api/v1/projects/{made.project}/uploads").json()["items"]
    for upload in keys:
        made.clients[0].delete(f"/api/v1/uploads/{upload['id']}")
    client = seaweed.client()
    left = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/uploads/")  # type: ignore[attr-defined]
    assert not left.get("Contents"), "no segment is left behind"


def zip_like(size: int) -> bytes:
    return b"PK\x03\x04" + random.Random(size).randbytes(size - 4)


SIZES = {
    "one small piece": [1_000],
    "small pieces": [700_000] * 9,
    "large and small": [SEGMENT_BYTES + 5, 3, LEAST_PART_BYTES, 1, 2 * SEGMENT_BYTES, 17],
    "exact segments": [SEGMENT_BYTES, SEGMENT_BYTES],
}


@pytest.mark.parametrize("kind", SIZES)
def test_two_servers_take_turns(hosts: Hosts, kind: str) -> None:
    data = zip_like(sum(SIZES[kind]))
    upload, at = hosts.reserve(len(data)), 0
    for number, size in enumerate(SIZES[kind]):
        assert hosts.send(number % 2, upload, at, data[at : at + size]) == 204
        at += size
    hosts.finished(upload, data)


def test_what_was_not_committed_is_sent_again_and_what_a_late_writer_sent_is_nowhere(hosts: Hosts) -> None:
    data = zip_like(3 * SEGMENT_BYTES)
    upload = hosts.reserve(len(data))
    assert hosts.send(0, upload, 0, data[:SEGMENT_BYTES]) == 204
    # A writer that was killed after its segment came into the bucket, before the database knew.
    late = get_partial_files(hosts.settings[0]).open(upload["id"], "part", SEGMENT_BYTES)
    late.write(memoryview(b"\0" * SEGMENT_BYTES))
    assert [segment.start for segment in late.sync()] == [SEGMENT_BYTES]
    with hosts.database.transaction() as session:
        row = session.get_one(Upload, upload["id"])
        row.writer, row.writer_until = "dead", now() - timedelta(seconds=1)
    assert hosts.offset(1, upload) == SEGMENT_BYTES
    assert hosts.send(1, upload, SEGMENT_BYTES, data[SEGMENT_BYTES : 2 * SEGMENT_BYTES]) == 204
    # One that wakes after the same bytes were committed by another, and writes them where it had been.
    later = get_partial_files(hosts.settings[0]).open(upload["id"], "part", SEGMENT_BYTES)
    later.write(memoryview(b"\0" * SEGMENT_BYTES))
    later.sync()
    assert hosts.send(0, upload, 2 * SEGMENT_BYTES, data[2 * SEGMENT_BYTES :]) == 204
    hosts.finished(upload, data)


def test_an_upload_that_is_given_up_leaves_nothing(hosts: Hosts, seaweed: Seaweed) -> None:
    data = zip_like(SEGMENT_BYTES + 10)
    upload = hosts.reserve(len(data))
    assert hosts.send(0, upload, 0, data[:-5]) == 204
    assert hosts.clients[1].delete(upload["location"]).status_code == 204
    listed = seaweed.client().list_objects_v2(Bucket=BUCKET)["Contents"]  # type: ignore[attr-defined]
    assert not [item["Key"] for item in listed if upload["id"] in item["Key"]]
    assert not list(get_store(hosts.settings[0]).stored())
