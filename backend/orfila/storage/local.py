"""Blobs on this machine's disk: `<data_dir>/blobs/ab/cdef...`, written under another name, synced, then linked.

A reader therefore sees a whole blob or none, whatever was killed when.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orfila.storage.base import Stored, Tree, hash_file, materialise, put_tree

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LocalStore:
    """A `BlobStore` below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)

    def prepare(self) -> None:
        """Nothing: the folder was made when the store was opened."""

    def put_file(self, path: Path) -> str:
        """Store a file by hard link, or by copy from another file system."""
        return self.keep(path, hash_file(path))

    def keep(self, path: Path, sha256: str) -> str:
        """`put_file` where the caller has just hashed the content."""
        if self._renewed(sha256):
            return sha256
        incoming = self._incoming / uuid.uuid4().hex
        try:
            incoming.hardlink_to(path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, incoming)
        return self._commit(incoming, sha256)

    def put_bytes(self, data: bytes) -> str:
        """Store bytes."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self._renewed(sha256):
            return sha256
        incoming = self._incoming / uuid.uuid4().hex
        incoming.write_bytes(data)
        return self._commit(incoming, sha256)

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading."""
        return self._path(sha256).open("rb")

    def local_path(self, sha256: str) -> Path:
        """The blob's own file."""
        path = self._path(sha256)
        if not path.is_file():
            raise FileNotFoundError(f"blob {sha256} is not in the store")
        return path

    def exists(self, sha256: str) -> bool:
        """Whether the blob is there."""
        return self._path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Bytes of a blob."""
        return self._path(sha256).stat().st_size

    def delete(self, sha256: str) -> None:
        """Remove a blob."""
        self._path(sha256).unlink(missing_ok=True)

    def stored(self) -> Iterator[Stored]:
        """Every blob."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                try:
                    state = path.stat()
                except FileNotFoundError:
                    continue  # removed meanwhile
                yield Stored(folder.name + path.name, state.st_size, state.st_mtime)

    def discard(self, sha256: str, before: float) -> bool:
        """Remove a blob unless it was stored again since: it is set aside first, so that nobody can renew it unseen."""
        path, aside = self._path(sha256), self._incoming / f"discarded-{uuid.uuid4().hex}"
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if aside.stat().st_mtime >= before:
            aside.rename(path)
            return False
        aside.unlink()
        return True

    def put_tree(self, directory: Path) -> Tree:
        """Store every file of a flat directory."""
        return put_tree(self, directory)

    def materialise(self, tree: Tree, directory: Path) -> Path:
        """Make a directory of a tree."""
        return materialise(self, tree, directory)

    def _renewed(self, sha256: str) -> bool:
        """Whether the blob is there; if so it counts as stored now, and no collection that began before removes it."""
        try:
            os.utime(self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    def _path(self, sha256: str) -> Path:
        check_sha256(sha256)
        return self.root / sha256[:2] / sha256[2:]

    def _commit(self, incoming: Path, sha256: str) -> str:
        with incoming.open("rb") as file:
            os.fsync(file.fileno())
        incoming.chmod(0o400)
        os.utime(incoming)  # a link has the age of the file that it was made from
        target = self._path(sha256)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        incoming.replace(target)
        # POSIX: when both names are links to one file (a racing writer of the same content), rename does nothing.
        incoming.unlink(missing_ok=True)
        _sync_directory(target.parent)
        return sha256


def check_sha256(sha256: str) -> None:
    """Names come from the database, yet a store must not be the place where a bad one becomes a path."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a SHA-256")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
