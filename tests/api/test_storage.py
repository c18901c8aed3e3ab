"""The store of blobs: content-addressed, immutable, whole or absent."""

import hashlib
import os
import threading

import pytest

from orfila.storage.local import LocalStore


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "blobs")


def test_what_goes_in_comes_out(store, tmp_path):
    data = os.urandom(3_000_000)
    source = tmp_path / "file"
    source.write_bytes(data)
    sha256 = store.put_file(source)
    assert sha256 == hashlib.sha256(data).hexdigest() == store.put_bytes(data)
    with store.open(sha256) as file:
        assert file.read() == data
    assert store.size(sha256) == len(data)
    assert not list((tmp_path / "blobs" / "incoming").iterdir())
    store.delete(sha256)
    assert not store.exists(sha256)
    store.delete(sha256)
    with pytest.raises(FileNotFoundError):
        store.local_path(sha256)


def test_blobs_are_read_only(store):
    path = store.local_path(store.put_bytes(b"evidence"))
    assert path.stat().st_mode & 0o777 == 0o400


def test_trees(store, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.json").write_bytes(b"1")
    (folder / "b.npy").write_bytes(b"2")
    tree = store.put_tree(folder)
    made = store.materialise(tree, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in made.iterdir()} == {"a.json": b"1", "b.npy": b"2"}
    assert (made / "a.json").stat().st_nlink > 1, "linked, not copied"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc/passwd"])
def test_names_that_are_paths_are_refused(store, tmp_path, name):
    sha256 = store.put_bytes(b"1")
    with pytest.raises(ValueError, match="plain file name"):
        store.materialise({name: sha256}, tmp_path / "out")
    with pytest.raises(ValueError, match="not a SHA-256"):
        store.open(name)


def test_racing_writers_of_one_content(store):
    threads = [threading.Thread(target=store.put_bytes, args=(b"same" * 100_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blobs = [p for p in store.root.rglob("*") if p.is_file()]
    assert len(blobs) == 1
