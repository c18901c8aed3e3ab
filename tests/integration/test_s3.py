"""Files in a bucket of a real S3 server (SeaweedFS): the store by itself, and the whole product on it."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from conftest import Product, Sample
from stacks import BUCKET, Seaweed, Servers, without_settings

from orfila.client import Client
from orfila.settings import Settings
from orfila.storage import get_store
from orfila.storage.s3 import PART_BYTES, S3Store

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def seaweed(servers: Servers) -> Iterator[Seaweed]:
    """The session's S3 server, with its credentials in this process's environment."""
    before = os.environ.copy()
    os.environ.update(servers.seaweed.environment)
    try:
        yield servers.seaweed
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:8]


def opened(seaweed: Seaweed, prefix: str, cache: Path, **settings: int) -> S3Store:
    return S3Store(f"s3://{BUCKET}/{prefix}", cache, endpoint=seaweed.address, **settings)


def test_what_goes_in_comes_out_on_another_machine(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(2 * PART_BYTES + 12_345)
    (tmp_path / "file").write_bytes(data)
    here, there = (opened(seaweed, prefix, tmp_path / name) for name in ("here", "there"))
    sha256 = here.put_file(tmp_path / "file")
    assert sha256 == hashlib.sha256(data).hexdigest() == here.put_bytes(data)
    assert there.exists(sha256)
    assert there.size(sha256) == len(data)
    path = there.local_path(sha256)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o400
    there.delete(sha256)
    assert not here.exists(sha256)
    with pytest.raises(FileNotFoundError):
        opened(seaweed, prefix, tmp_path / "third").local_path(sha256)
    with pytest.raises(ValueError, match="is not a SHA-256"):
        here.exists("../../etc/passwd")


def test_a_blob_is_looked_into_without_being_fetched(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(5_000_000)
    sha256 = opened(seaweed, prefix, tmp_path / "here").put_bytes(data)
    there = opened(seaweed, prefix, tmp_path / "there")
    with there.open(sha256) as file:
        file.seek(3_000_000)
        assert file.read(1_500_000) == data[3_000_000:4_500_000]
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]
        assert file.read() == b""
    assert not list(there._cache.stored())


def test_who_asks_for_a_blob_at_once_fetches_it_once(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    blobs = [opened(seaweed, prefix, tmp_path / "here").put_bytes(bytes([k]) * 100_000) for k in range(3)]
    there = opened(seaweed, prefix, tmp_path / "there")
    fetched: list[str] = []
    fetch = there._fetch

    def slowly(sha256: str) -> None:
        fetched.append(sha256)
        time.sleep(0.2)
        fetch(sha256)

    there._fetch = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor(12) as pool:
        paths = list(pool.map(there.local_path, blobs * 4))
    assert sorted(fetched) == sorted(blobs)
    assert [path.read_bytes()[:1] for path in paths[:3]] == [b"\x00", b"\x01", b"\x02"]


def test_a_damaged_object_is_never_believed(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    sha256 = opened(seaweed, prefix, tmp_path / "here").put_bytes(b"evidence")
    key = f"{prefix}/{sha256[:2]}/{sha256[2:]}"
    seaweed.client().put_object(Bucket=BUCKET, Key=key, Body=b"evidense")  # type: ignore[attr-defined]
    there = opened(seaweed, prefix, tmp_path / "there")
    with pytest.raises(OSError, match="other bytes"):
        there.local_path(sha256)


def test_trees(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("a.json", "b.npy"):
        (folder / name).write_bytes(name.encode() * 1000)
    tree = opened(seaweed, prefix, tmp_path / "here").put_tree(folder)
    made = opened(seaweed, prefix, tmp_path / "there").materialise(tree, tmp_path / "made")
    assert {p.name: p.read_bytes() for p in made.iterdir()} == {n: n.encode() * 1000 for n in tree}
    with pytest.raises(ValueError, match="plain file name"):
        opened(seaweed, prefix, tmp_path / "there").materialise({"../x": tree["a.json"]}, tmp_path / "other")


def test_the_cache_keeps_what_was_used_last(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    blobs = [bytes([k]) * 1000 for k in range(6)]
    names = [opened(seaweed, prefix, tmp_path / "here").put_bytes(data) for data in blobs]
    there = opened(seaweed, prefix, tmp_path / "there", cache_bytes=3000)
    for name, data in zip(names, blobs, strict=True):
        path = there.local_path(name)
        assert path.read_bytes() == data
        os.utime(path, (time.time() - 3600,) * 2)
    kept = {blob.sha256 for blob in there._cache.stored()}
    assert kept == set(names[-3:])
    assert there.local_path(names[0]).read_bytes() == blobs[0], "fetched again"


def test_what_is_stored_again_counts_as_new(seaweed: Seaweed, prefix: str, tmp_path: Path) -> None:
    store = opened(seaweed, prefix, tmp_path / "here")
    names = {store.put_bytes(data) for data in (b"one", b"two")}
    found = {blob.sha256: blob for blob in store.stored()}
    assert set(found) == names
    assert {blob.size for blob in found.values()} == {3}
    one = hashlib.sha256(b"one").hexdigest()
    time.sleep(1.1)  # a bucket tells seconds
    between = found[one].modified + 0.5
    store.put_bytes(b"one")
    assert not store.discard(one, between)
    assert store.discard(hashlib.sha256(b"two").hexdigest(), between)
    assert [blob.sha256 for blob in store.stored()] == [one]


def test_a_large_blob_that_is_stored_again_stays_as_it_is_and_counts_as_new(
    seaweed: Seaweed, prefix: str, tmp_path: Path
) -> None:
    """Nothing of it travels and nothing is written anew: a marker tells that it was stored again."""
    key = {"Bucket": BUCKET}
    (tmp_path / "file").write_bytes(random.Random(2).randbytes(2 * PART_BYTES + 1))
    store = opened(seaweed, prefix, tmp_path / "here")
    sha256 = store.put_file(tmp_path / "file")
    first = next(store.stored())
    key["Key"] = store.key(sha256)
    written = seaweed.client().head_object(**key)["LastModified"]
    time.sleep(1.1)
    assert opened(seaweed, prefix, tmp_path / "there").put_file(tmp_path / "file") == sha256
    assert seaweed.client().head_object(**key)["LastModified"] == written
    again = next(store.stored())
    assert again.modified > first.modified
    assert not store.discard(sha256, first.modified + 0.5)
    assert opened(seaweed, prefix, tmp_path / "third").local_path(sha256).stat().st_size == first.size
    store.delete(sha256)
    assert not list(store.stored())


def test_migrate_makes_the_bucket_once(seaweed: Seaweed, tmp_path: Path) -> None:
    bucket = f"made-{tmp_path.name.replace('_', '-')}"[:60]
    environment = {
        **without_settings(),
        **seaweed.settings("x"),
        "ORFILA_STORAGE_URL": f"s3://{bucket}/deep",
        "ORFILA_DATA_DIR": str(tmp_path),
    }
    with pytest.raises(ClientError):
        seaweed.client().head_bucket(Bucket=bucket)
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "orfila", "migrate"], env=environment, check=True, timeout=60)
        seaweed.client().head_bucket(Bucket=bucket)


def test_the_address_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no address of a bucket"):
        get_store(Settings(data_dir=tmp_path, storage_url="http://bucket"))


def test_the_product_keeps_its_files_in_the_bucket(
    seaweed: Seaweed, sample: Sample, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From upload to a verified repair; and after the cache is lost, everything is still there."""
    product = Product(tmp_path_factory.mktemp("s"))
    product.environment |= seaweed.settings("product")
    try:
        with Client.sign_in(product.start()) as client:
            project = client.projects()[0].id
            dataset = client.add_dataset(project, sample.archive)
            model = client.add_model(project, sample.weights, dataset.id)
            case = client.open_case(project, model.id, test_index=sample.affected)
            flagged = frozenset(client.flagged(case.id))
            assert len(flagged & sample.poison) >= 0.95 * len(sample.poison)
            for path in (product.data / "cache").glob("??/*"):
                path.unlink()
            assert client.repair(case.id, "influence").verification is not None
            assert frozenset(client.flagged(case.id)) == flagged
            original = client._send("GET", f"/api/v1/datasets/{dataset.id}/images/0/original").content
            assert hashlib.sha256(original).hexdigest() == client._send(
                "GET", f"/api/v1/datasets/{dataset.id}/images/0"
            ).json()["sha256"]  # fmt: skip
    finally:
        product.stop()
    assert not (product.data / "blobs").exists()
