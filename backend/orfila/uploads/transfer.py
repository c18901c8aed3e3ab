"""Receiving the bytes of an upload, so that no crash, double sender or slow zombie can corrupt it.

The committed offset in SQL is the truth. A PATCH
1. claims the upload (compare-and-set of the writer); a live writer is left alone (423); from a silent one the claim
   takes over with a copy of the committed bytes in a file of its own, so that the silent one, should it wake, writes
   into a file that nobody reads;
2. truncates the file to the committed offset and writes;
3. syncs and advances the offset by compare-and-set, every few megabytes and at the end, also when the client is gone.
   With `Upload-Checksum` it does so once, after the checksum proved right.
The lease is a matter of this machine, on whose disk the file is, so its clock serves.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, BinaryIO

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
from orfila.storage import BlobStore, sniff
from orfila.uploads import repository, service
from orfila.uploads.models import Upload

LEASE = timedelta(seconds=10)
COMMIT_BYTES = 8 * 2**20
WRITE_BYTES = 512 * 2**10
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
    file: BinaryIO
    committed: int
    position: int
    pending: bytearray = field(default_factory=bytearray)

    def write(self) -> None:
        """Put what has arrived into the file."""
        try:
            self.file.write(self.pending)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace("The disk is full; free some space and resume the upload.") from error
            raise
        self.position += len(self.pending)
        self.pending.clear()

    def commit(self) -> None:
        """Sync, and advance the offset that counts. Raises Conflict when another writer took over."""
        if self.position == self.committed:
            return
        self.file.flush()
        crash.point("upload.written")
        os.fdatasync(self.file.fileno())
        crash.point("upload.synced")
        with self.database.transaction() as session:
            moved = repository.advance(
                session, self.upload.id, self.token, self.committed, self.position, now() + LEASE
            )
        if not moved:
            raise Conflict("Another request took this upload over; ask for the offset and go on from there.")
        self.committed = self.position
        crash.point("upload.committed")

    def close(self) -> None:
        """Give the lease back."""
        self.file.close()
        with self.database.transaction() as session:
            repository.release(session, self.upload.id, self.token)


async def append(
    database: Database,
    store: BlobStore,
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
    writer = await to_thread.run_sync(_claim, database, settings, subject, upload_id, offset)
    refused = False
    try:
        await _receive(writer, checksum, stream)
    except UnsupportedContent:
        refused = True
        raise
    finally:
        await to_thread.run_sync(writer.close)
        if refused:
            await to_thread.run_sync(service.drop, database, settings, upload_id)
    if writer.committed == writer.upload.size:
        await to_thread.run_sync(service.complete, database, store, settings, upload_id, subject.name)
    return writer.committed


async def _receive(writer: _Writer, checksum: Checksum | None, stream: AsyncIterator[bytes]) -> None:
    size, sniffed = writer.upload.size, writer.position > 0
    digest: Any = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
    try:
        async for chunk in stream:
            if writer.position + len(writer.pending) + len(chunk) > size:
                raise TooLarge(f"More bytes came than the {size:,} that were declared; nothing of the excess was kept.")
            writer.pending += chunk
            if digest is not None:
                digest.update(chunk)
            if not sniffed and len(writer.pending) >= min(sniff.HEAD_BYTES, size):
                sniff.check(bytes(writer.pending[: sniff.HEAD_BYTES]), size, writer.upload.purpose)
                sniffed = True
            if len(writer.pending) >= WRITE_BYTES:
                await to_thread.run_sync(writer.write)
                if checksum is None and writer.position - writer.committed >= COMMIT_BYTES:
                    await to_thread.run_sync(writer.commit)
    except (ClientDisconnect, TooLarge, NoSpace) as error:
        # Bytes that came are kept, unless a checksum was promised for the whole.
        if checksum is None:
            if not isinstance(error, NoSpace):
                await to_thread.run_sync(writer.write)
            await to_thread.run_sync(writer.commit)
        raise
    await to_thread.run_sync(writer.write)
    if checksum is not None and digest.digest() != checksum.digest:
        raise ChecksumMismatch("The bytes do not match Upload-Checksum; send them again from the same offset.")
    await to_thread.run_sync(writer.commit)


def _claim(database: Database, settings: Settings, subject: Subject, upload_id: str, offset: int) -> _Writer:
    with database.reading() as session:
        upload = service.find(session, subject, upload_id, "write")
    if upload.state == "finished" or upload.offset != offset:
        raise Conflict(
            f"The upload has {upload.offset:,} bytes and this request starts at {offset:,}; ask with HEAD and go on "
            "from there.",
            code="upload_offset_mismatch",
        )
    if upload.writer is not None and upload.writer_until is not None and upload.writer_until > now():
        raise Locked("Another request is sending this upload; try again in some seconds.", code="upload_locked")
    part = upload.part if upload.writer is None else _take_over(settings, upload)
    token = new_id()
    with database.transaction() as session:
        if not repository.claim(session, upload, token, part, now() + LEASE):
            raise Locked("Another request was first; ask for the offset and go on from there.", code="upload_locked")
    path = service.part_path(settings, upload, part)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if part != upload.part:
        service.part_path(settings, upload).unlink(missing_ok=True)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    if os.fstat(file.fileno()).st_size < upload.offset:
        file.close()
        service.drop(database, settings, upload_id)
        raise NotFound("The bytes of this upload are no longer on disk; start it again.", code="upload_lost")
    file.truncate(upload.offset)
    file.seek(upload.offset)
    return _Writer(database, upload, token, file, committed=upload.offset, position=upload.offset)


def _take_over(settings: Settings, upload: Upload) -> str:
    """Copy the committed bytes of a silent writer into a new file; its name."""
    part = new_id()
    source, target = service.part_path(settings, upload), service.part_path(settings, upload, part)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if source.is_file():
        shutil.copyfile(source, target)
    return part
