"""Uploads on their way into a bucket: `<prefix>/uploads/<upload>/<start>-<random>`, a segment each.

A whole upload is put together inside the bucket, by copies of its segments; only those that are smaller than a part may
be are read and sent once more.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from orfila.storage.partial import Segment, Sink
from orfila.storage.s3 import S3Store

SEGMENT_BYTES = 8 * 2**20
LEAST_PART_BYTES = 5 * 2**20
"""S3 refuses smaller parts of a multipart upload, the last one excepted."""
_READ_BYTES = 2**20


class S3PartialFiles:
    """`PartialFiles` in the bucket of a store. Part names are not needed: no key is ever written twice."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    def open(self, upload_id: str, part: str, offset: int) -> Sink:
        """Go on after the first `offset` bytes; which segments hold them is the database's business."""
        return _Segments(self._store, self._folder(upload_id), offset)

    def take_over(self, upload_id: str, old: str, new: str) -> None:
        """Nothing to do: what another writer sends gets keys that nobody knows."""

    def forget(self, upload_id: str, part: str) -> None:
        """Nothing to do."""

    def head(self, upload_id: str, part: str, segments: Sequence[Segment], length: int) -> bytes:
        """The first bytes."""
        found = b""
        for segment in segments:
            if len(found) >= length:
                break
            found += self._read(segment, 0, min(segment.length, length - len(found)))
        return found

    def keep(self, upload_id: str, part: str, segments: Sequence[Segment], sha256: str | None) -> str:
        """Put the segments together under their digest."""
        digest = sha256 or self._hash(segments)
        if not self._store.renew(digest):
            self._compose(segments, self._store.key(digest))
        return digest

    def discard(self, upload_id: str) -> None:
        """Remove every segment, also those of writers that were too late."""
        client, bucket = self._store.client, self._store.bucket
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=self._folder(upload_id))
        for page in pages:
            for item in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=item["Key"])

    def free_bytes(self) -> int | None:
        """Nobody can say."""
        return None

    def _folder(self, upload_id: str) -> str:
        return self._store.named(f"uploads/{upload_id}/")

    def _read(self, segment: Segment, start: int, stop: int) -> bytes:
        answer = self._store.client.get_object(
            Bucket=self._store.bucket, Key=segment.key, Range=f"bytes={start}-{stop - 1}"
        )
        data: bytes = answer["Body"].read()
        return data

    def _hash(self, segments: Sequence[Segment]) -> str:
        digest = hashlib.sha256()
        for segment in segments:
            body = self._store.client.get_object(Bucket=self._store.bucket, Key=segment.key)["Body"]
            for piece in body.iter_chunks(_READ_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    def _compose(self, segments: Sequence[Segment], key: str) -> None:
        client, target = self._store.client, {"Bucket": self._store.bucket, "Key": key}
        groups = list(_groups(segments))
        if len(groups) == 1:
            client.put_object(Body=self._bytes(groups[0]), **target)
            return
        upload = client.create_multipart_upload(**target)["UploadId"]
        try:
            parts = [
                {"PartNumber": number, "ETag": self._part(group, target, upload, number)}
                for number, group in enumerate(groups, start=1)
            ]
            client.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": parts}, **target)
        except BaseException:
            client.abort_multipart_upload(UploadId=upload, **target)
            raise

    def _part(self, group: list[Segment], target: dict[str, str], upload: str, number: int) -> str:
        client = self._store.client
        if len(group) == 1:
            source = {"Bucket": self._store.bucket, "Key": group[0].key}
            copied = client.upload_part_copy(CopySource=source, UploadId=upload, PartNumber=number, **target)
            return str(copied["CopyPartResult"]["ETag"])
        sent = client.upload_part(Body=self._bytes(group), UploadId=upload, PartNumber=number, **target)
        return str(sent["ETag"])

    def _bytes(self, group: Sequence[Segment]) -> bytes:
        return b"".join(self._read(segment, 0, segment.length) for segment in group)


def _groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Neighbouring segments, so many that they make a part; the last group may be smaller."""
    group: list[Segment] = []
    for segment in segments:
        group.append(segment)
        if sum(s.length for s in group) >= LEAST_PART_BYTES:
            yield group
            group = []
    if group:
        yield group


class _Segments:
    """Bytes gather in memory until they make a segment."""

    def __init__(self, store: S3Store, folder: str, offset: int) -> None:
        self._store, self._folder, self._offset = store, folder, offset
        self._pending = bytearray()
        self._sent: list[Segment] = []

    def write(self, data: memoryview) -> None:
        self._pending += data
        if len(self._pending) >= SEGMENT_BYTES:
            self._send()

    def sync(self) -> list[Segment]:
        self._send()
        sent, self._sent = self._sent, []
        return sent

    def close(self) -> None:
        self._pending.clear()

    def _send(self) -> None:
        if not self._pending:
            return
        key = f"{self._folder}{self._offset:016d}-{uuid.uuid4().hex}"
        arguments: dict[str, Any] = {"Bucket": self._store.bucket, "Key": key, "Body": bytes(self._pending)}
        self._store.client.put_object(**arguments)
        self._sent.append(Segment(self._offset, len(self._pending), key))
        self._offset += len(self._pending)
        self._pending.clear()
