"""Receiving the bytes of an upload, so that no crash, double sender or slow zombie can corrupt it.

The committed offset in SQL is the truth. A PATCH
1. claims the upload (compare-and-set of the writer); a live writer is left alone (423); from a silent one the claim
   takes over with a copy of the committed bytes in a file of its own, so that the silent one, should it wake, writes
   into a file that nobody reads (in a bucket: segments that nobody knows);
2. begins at the committed offset and writes;
3. syncs and advances the offset by compare-and-set, now and then and at the end, also when the client is gone.
   With `Upload-Checksum` it does so once, after the checksum proved right.
Writing and hashing go on in a thread while the next bytes come in. The SHA-256 of the whole runs along (`digests`).
Leases go by the clock of the machine that serves the request: seconds are long beside the differences of clocks.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import time
from asyncio import Task, create_task
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from anyio import to_thread
from starlette.requests import ClientDisconnect

from orfila import crash
from orfila.db import Database, new_id, now
from orfila.errors import (
    BadRequest,
    ChecksumMismatch,
    Conflict,
    Locked,
    NoSpace,
    NotFound,
    TooLarge,
    UnsupportedContent,
)
from orfila.identity.subject import Subject
from orfila.settings import Settings
from orfila.storage import Segment, Sink, get_partial_files, sniff
from orfila.uploads import digests, repository, service
from orfila.uploads.models import Upload

LEASE = timedelta(seconds=5)
"""Renewed every second while bytes come. A sender that is silent for longer can be taken over from, safely."""
COMMIT_BYTES = 256 * 2**20
COMMIT_SECONDS = 1.0
"""Without a checksum, what came is committed after so many bytes or so long, whichever is first."""
WRITE_BYTES = 2**20
CHECKSUMS = ("sha1", "sha256")


@dataclass(frozen=True)
class Checksum:
    """`Upload-Checksum: sha256 <base64>`."""

    algorithm: str
    digest: bytes

    @classmethod
    def parse(cls, header: str) -> Checksum:
        """Read the header; raises BadRequest."""
        algorithm, _, encoded = header.strip().partition(" ")
        if algorithm not in CHECKSUMS:
            raise BadRequest(f"Upload-Checksum takes {' or '.join(CHECKSUMS)}.", code="checksum_unsupported")
        try:
            return cls(algorithm, base64.b64decode(encoded, validate=True))
        except binascii.Error as error:
            raise BadRequest("The digest in Upload-Checksum is not base64.") from error


@dataclass
class _Writer:
    """One PATCH that holds the lease."""

    database: Database
    upload: Upload
    token: str
    sink: Sink
    committed: int
    position: int
    checksum: Checksum | None
    whole: digests.Running | None
    """Of all bytes of the file so far, where this process has seen them."""

    def __post_init__(self) -> None:
        self._check = hashlib.new(self.checksum.algorithm, usedforsecurity=False) if self.checksum else None
        self._renewed_at = time.monotonic()

    def write(self, data: memoryview) -> None:
        """Put what has arrived into the file; commit it when it is time. Raises NoSpace."""
        try:
            self.sink.write(data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace("The disk is full; free some space and resume the upload.") from error
            raise
        if self._check is not None:
            self._check.update(data)
        if self.whole is not None:
            self.whole.update(data)
        self.position += len(data)
        due = time.monotonic() - self._renewed_at >= COMMIT_SECONDS
        if self.checksum is None and (due or self.position - self.committed >= COMMIT_BYTES):
            self.commit()
        elif due:
            self._advance(self.committed, ())

    def verify(self) -> None:
        """Compare the checksum of what this request wrote. Raises ChecksumMismatch."""
        if self._check is not None and self.checksum is not None and self._check.digest() != self.checksum.digest:
            raise ChecksumMismatch("The bytes do not match Upload-Checksum; send them again from the same offset.")

    def commit(self) -> None:
        """Sync, and advance the offset that counts. Raises Conflict when another writer took over."""
        if self.position == self.committed:
            return
        crash.point("upload.written")
        segments = self.sink.sync()
        crash.point("upload.synced")
        self._advance(self.position, segments)
        if self.whole is not None:
            digests.remember(self.upload.id, self.committed, self.whole)
        crash.point("upload.committed")

    def _advance(self, offset: int, segments: Sequence[Segment]) -> None:
        """Move the offset that counts, and hold the upload for longer."""
        until = now() + LEASE
        with self.database.transaction() as session:
            if not repository.advance(session, self.upload.id, self.token, self.committed, offset, until, segments):
                raise Conflict("Another request took this upload over; ask for the offset and go on from there.")
        self.committed, self._renewed_at = offset, time.monotonic()

    def close(self) -> None:
        """Give the lease back."""
        self.sink.close()
        with self.database.transaction() as session:
            repository.release(session, self.upload.id, self.token)


async def append(
    database: Database,
    settings: Settings,
    subject: Subject,
    upload_id: str,
    offset: int,
    checksum: Checksum | None,
    stream: AsyncIterator[bytes],
) -> int:
    """Write a request's body at `offset` and return the new offset; finishes the upload with its last byte.

    Raises Conflict (wrong offset), Locked, TooLarge (more than declared), UnsupportedContent (the first bytes are of
    another kind of file: the upload is dropped), ChecksumMismatch, NoSpace. What was committed before stays.
    """
    writer = await to_thread.run_sync(_claim, database, settings, subject, upload_id, offset, checksum)
    refused = False
    try:
        await _receive(writer, stream, settings.convert_torch_files)
    except UnsupportedContent:
        refused = True
        raise
    finally:
        await to_thread.run_sync(writer.close)
        if refused:
            await to_thread.run_sync(service.drop, database, settings, upload_id)
    if writer.committed == writer.upload.size:
        await to_thread.run_sync(service.complete, database, settings, upload_id, subject.name)
    return writer.committed


class _Intake:
    """Two buffers: one fills with what comes in while the other is written by a thread."""

    def __init__(self, writer: _Writer, torch_files: bool) -> None:
        self._writer, self._torch_files = writer, torch_files
        self._filling, self._spare, self._filled = bytearray(WRITE_BYTES), bytearray(WRITE_BYTES), 0
        self._writing: Task[None] | None = None
        self._came = writer.position
        self._handed_at = time.monotonic()
        self._sniffed = writer.position > 0

    async def take(self, chunk: bytes) -> None:
        """Take some bytes in. Raises TooLarge, UnsupportedContent, and what writing the bytes before these raised."""
        size = self._writer.upload.size
        self._came += len(chunk)
        if self._came > size:
            raise TooLarge(f"More bytes came than the {size:,} that were declared; nothing of the excess was kept.")
        rest = memoryview(chunk)
        while rest:
            part = rest[: len(self._filling) - self._filled]
            self._filling[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rest = rest[len(part) :]
            if not self._sniffed and self._filled >= min(sniff.HEAD_BYTES, size):
                head, purpose = bytes(self._filling[: sniff.HEAD_BYTES]), self._writer.upload.purpose
                sniff.check(head, size, purpose, torch_files=self._torch_files)
                self._sniffed = True
            # A slow sender fills no buffer for long; what came of it is written and committed all the same.
            if self._filled == len(self._filling) or time.monotonic() - self._handed_at >= COMMIT_SECONDS:
                await self._hand_over()

    async def finish(self) -> None:
        """Have everything written, verified and committed."""
        await self._hand_over()
        await self.settle()
        await to_thread.run_sync(self._writer.verify)
        await to_thread.run_sync(self._writer.commit)

    async def settle(self) -> None:
        """Wait until no thread writes; raises what it raised."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _hand_over(self) -> None:
        await self.settle()
        self._handed_at = time.monotonic()
        data = memoryview(self._filling)[: self._filled]
        self._writing = create_task(to_thread.run_sync(self._writer.write, data))
        self._filling, self._spare, self._filled = self._spare, self._filling, 0


async def _receive(writer: _Writer, stream: AsyncIterator[bytes], torch_files: bool) -> None:
    intake = _Intake(writer, torch_files)
    try:
        async for chunk in stream:
            await intake.take(chunk)
    except (ClientDisconnect, TooLarge):
        # Bytes that came are kept, unless a checksum was promised for the whole.
        if writer.checksum is None:
            await intake.finish()
        raise
    else:
        await intake.finish()
    finally:
        await intake.settle()  # the file must not be closed under a thread that writes


def _claim(
    database: Database, settings: Settings, subject: Subject, upload_id: str, offset: int, checksum: Checksum | None
) -> _Writer:
    with database.reading() as session:
        upload = service.find(session, subject, upload_id, "write")
    if upload.state != "receiving" or upload.offset != offset:
        raise Conflict(
            f"The upload has {upload.offset:,} bytes and this request starts at {offset:,}; ask with HEAD and go on "
            "from there.",
            code="upload_offset_mismatch",
        )
    service.require_unlocked(upload)
    files = get_partial_files(settings)
    token, part = new_id(), upload.part
    if upload.writer is not None:
        part = new_id()
        files.take_over(upload.id, upload.part, part)
    with database.transaction() as session:
        if not repository.claim(session, upload, token, part, now() + LEASE):
            raise Locked("Another request was first; ask for the offset and go on from there.", code="upload_locked")
    if part != upload.part:
        files.forget(upload.id, upload.part)
    try:
        sink = files.open(upload.id, part, upload.offset)
    except FileNotFoundError as error:
        service.drop(database, settings, upload_id)
        raise NotFound("The bytes of this upload are no longer there; start it again.", code="upload_lost") from error
    whole = digests.recall(upload.id, upload.offset)
    return _Writer(database, upload, token, sink, upload.offset, upload.offset, checksum, whole)
