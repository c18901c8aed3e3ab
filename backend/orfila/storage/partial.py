"""Files that are still coming in: what was written counts once it is synced and the database says so.

On this machine's disk an upload is one file. In a bucket, where nothing can be appended, it is a row of segments under
names that are never used twice, so that a late writer changes nothing; the database keeps which of them count.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orfila.storage.local import LocalStore


@dataclass(frozen=True)
class Segment:
    """Some bytes of an upload in a bucket."""

    start: int
    length: int
    key: str


class Sink(Protocol):
    """Where the bytes of one upload go."""

    def write(self, data: memoryview) -> None:
        """Take bytes in, after those before. Raises OSError."""
        ...

    def sync(self) -> list[Segment]:
        """Make all that was written durable; the segments that came since the last time, for the database to keep."""
        ...

    def close(self) -> None:
        """No more bytes come; those that were not synced may be lost."""
        ...


class PartialFiles(Protocol):
    """The files of all uploads that are not finished. Bytes stand under a part name, which a takeover renews."""

    def open(self, upload_id: str, part: str, offset: int) -> Sink:
        """Go on after the first `offset` bytes. Raises FileNotFoundError when those are not all there."""
        ...

    def take_over(self, upload_id: str, old: str, new: str) -> None:
        """Bytes under another part name, out of reach of whoever still writes under the old one."""
        ...

    def forget(self, upload_id: str, part: str) -> None:
        """Nothing under a part name is needed any more."""
        ...

    def head(self, upload_id: str, part: str, segments: Sequence[Segment], length: int) -> bytes:
        """The first bytes, `length` at most."""
        ...

    def keep(self, upload_id: str, part: str, segments: Sequence[Segment], sha256: str | None) -> str:
        """Make a blob of a whole upload; its SHA-256, which is the one given unless that is None."""
        ...

    def discard(self, upload_id: str) -> None:
        """Remove all bytes of an upload."""
        ...

    def free_bytes(self) -> int | None:
        """Room for more; None where nobody can say."""
        ...


class LocalPartialFiles:
    """`PartialFiles` as `<folder>/<upload>/<part>`."""

    def __init__(self, folder: Path, store: LocalStore) -> None:
        self._folder, self._store = folder, store

    def open(self, upload_id: str, part: str, offset: int) -> Sink:
        """Go on after the first `offset` bytes."""
        path = self._path(upload_id, part)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _File(path, offset)

    def take_over(self, upload_id: str, old: str, new: str) -> None:
        """A copy of the bytes."""
        source, target = self._path(upload_id, old), self._path(upload_id, new)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if source.is_file():
            shutil.copyfile(source, target)

    def forget(self, upload_id: str, part: str) -> None:
        """Remove the file."""
        self._path(upload_id, part).unlink(missing_ok=True)

    def head(self, upload_id: str, part: str, segments: Sequence[Segment], length: int) -> bytes:
        """The first bytes."""
        with self._path(upload_id, part).open("rb") as file:
            return file.read(length)

    def keep(self, upload_id: str, part: str, segments: Sequence[Segment], sha256: str | None) -> str:
        """A hard link in the store."""
        path = self._path(upload_id, part)
        return self._store.put_file(path) if sha256 is None else self._store.keep(path, sha256)

    def discard(self, upload_id: str) -> None:
        """Remove the upload's folder."""
        shutil.rmtree(self._folder / upload_id, ignore_errors=True)

    def free_bytes(self) -> int | None:
        """Of the disk."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self._folder).free

    def _path(self, upload_id: str, part: str) -> Path:
        """Both names are our own random ids."""
        return self._folder / upload_id / part


class _File:
    def __init__(self, path: Path, offset: int) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if os.fstat(self._file.fileno()).st_size < offset:
            self._file.close()
            raise FileNotFoundError(f"{path} has fewer than {offset:,} bytes")
        self._file.truncate(offset)
        self._file.seek(offset)

    def write(self, data: memoryview) -> None:
        self._file.write(data)

    def sync(self) -> list[Segment]:
        self._file.flush()
        os.fdatasync(self._file.fileno())
        return []

    def close(self) -> None:
        self._file.close()
