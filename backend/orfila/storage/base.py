"""What every store of files offers: content-addressed blobs, and directories as trees of blobs.

A blob is named by the SHA-256 of its content, so it never changes, is never stored twice, and can be cached for ever.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

Tree = dict[str, str]
"""A stored directory: file name -> SHA-256 of its content."""

_CHUNK = 2**20


@dataclass(frozen=True)
class Stored:
    """A blob in the store."""

    sha256: str
    size: int
    modified: float
    """Seconds since 1970: when its content was last stored."""


class BlobStore(Protocol):
    """A store of immutable blobs."""

    def __hash__(self) -> int: ...

    def prepare(self) -> None:
        """Make what has to be there before anything is stored."""
        ...

    def put_file(self, path: Path) -> str:
        """Store a file's content and return its SHA-256. The file itself stays, read-only: the caller removes it."""
        ...

    def keep(self, path: Path, sha256: str) -> str:
        """`put_file` where the caller has just hashed the content."""
        ...

    def put_bytes(self, data: bytes) -> str:
        """Store bytes and return their SHA-256."""
        ...

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading; raises FileNotFoundError when it is not there."""
        ...

    def local_path(self, sha256: str) -> Path:
        """A file with the blob's content on this machine, to read or memory-map, never to write."""
        ...

    def exists(self, sha256: str) -> bool:
        """Whether the blob is there."""
        ...

    def size(self, sha256: str) -> int:
        """Bytes of a blob; raises FileNotFoundError when it is not there."""
        ...

    def delete(self, sha256: str) -> None:
        """Remove a blob; nothing happens when it is not there."""
        ...

    def stored(self) -> Iterator[Stored]:
        """Every blob."""
        ...

    def discard(self, sha256: str, before: float) -> bool:
        """Remove a blob unless its content was stored again since `before`; says whether it did."""
        ...

    def put_tree(self, directory: Path) -> Tree:
        """Store every file of a flat directory."""
        ...

    def materialise(self, tree: Tree, directory: Path) -> Path:
        """Make a directory of a tree, and return it. The files are read-only."""
        ...


def check_name(name: str) -> str:
    """A name in a stored directory, if it is a plain file name. Raises ValueError otherwise."""
    if Path(name).name != name or name in (".", ".."):
        raise ValueError(f"a stored directory holds the name {name!r}, which is not a plain file name")
    return name


def put_tree(store: BlobStore, directory: Path) -> Tree:
    """Store every file of a flat directory."""
    return {path.name: store.put_file(path) for path in sorted(directory.iterdir()) if path.is_file()}


def materialise(store: BlobStore, tree: Tree, directory: Path) -> Path:
    """Make a directory of hard links to a store's files on this disk (copies on another file system)."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, sha256 in tree.items():
        target = directory / check_name(name)
        if target.exists():
            continue
        path = store.local_path(sha256)
        try:
            target.hardlink_to(path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, target)
    return directory


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
