"""Blobs in a bucket of S3 or of anything that speaks its protocol: `<prefix>/ab/cdef...`, with a cache on this disk.

Files that are mapped into memory must lie on a disk, so whole blobs are fetched into the cache, checked against their
digest, and linked from there; a blob that is only looked into (one original among many) is read by ranges. The cache
holds the blobs used last; whatever is in it can be thrown away at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from orfila.storage.base import Stored, Tree, hash_file, materialise, put_tree
from orfila.storage.local import LocalStore, check_sha256

RANGE_BYTES = 2**20
"""Of one ranged read."""
PART_BYTES = 16 * 2**20
"""Files larger than this are sent and fetched in parts of it."""
YOUNG_SECONDS = 600.0
"""Blobs that were used since are not thrown out of the cache."""
_N_TURNS = 64
"""Locks that blobs share for being fetched."""
_LOOK_SHARE = 0.01
"""The cache is looked at when so much of its size has come into it."""
_ATTEMPTS = 6
_BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


class S3Store:
    """A `BlobStore` in a bucket. Credentials are boto3's business: AWS_* variables, a file, or the machine's role."""

    def __init__(self, url: str, cache: Path, *, endpoint: str | None = None, cache_bytes: int = 50 * 2**30) -> None:
        """url: s3://BUCKET/PREFIX. cache: a folder on this disk. endpoint: of another server than Amazon's.

        Raises ValueError when the address is none of S3.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError(f"'{url}' is no address of a bucket; write s3://BUCKET or s3://BUCKET/PREFIX")
        self.bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._endpoint = endpoint
        self._cache = LocalStore(cache)
        self._cache_bytes = cache_bytes
        self._added = cache_bytes
        """Bytes since the cache was last looked at."""
        self._local = threading.local()
        self._turns = tuple(threading.Lock() for _ in range(_N_TURNS))

    def prepare(self) -> None:
        """Make the bucket, unless it is there. Raises ClientError where that is not allowed."""
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            self.client.create_bucket(Bucket=self.bucket)

    def put_file(self, path: Path) -> str:
        """Store a file's content, in parts where it is large. The file itself stays."""
        return self.keep(path, hash_file(path))

    def keep(self, path: Path, sha256: str) -> str:
        """`put_file` where the caller has just hashed the content."""
        if not self.renew(sha256):
            transfer = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
            self.client.upload_file(str(path), self.bucket, self.key(sha256), Config=transfer)
        self._make_room(path.stat().st_size)
        self._cache.keep(path, sha256)
        return sha256

    def put_bytes(self, data: bytes) -> str:
        """Store bytes."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.renew(sha256):
            self.client.put_object(Bucket=self.bucket, Key=self.key(sha256), Body=data)
        self._make_room(len(data))
        self._cache.put_bytes(data)
        return sha256

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading: from the cache where it is there, else by ranges, without fetching the whole."""
        if self._cache.exists(sha256):
            return self._cache.open(sha256)
        return io.BufferedReader(_Ranges(self, sha256, self.size(sha256)), RANGE_BYTES)

    def local_path(self, sha256: str) -> Path:
        """The blob's file in the cache, fetched if it is not there."""
        check_sha256(sha256)
        # A page that opens asks for many pieces of one file at once: the first request fetches it, the others wait.
        with self._turns[int(sha256[:4], 16) % len(self._turns)]:
            if not self._cache.exists(sha256):
                self._fetch(sha256)
        path = self._cache.local_path(sha256)
        os.utime(path)
        return path

    def exists(self, sha256: str) -> bool:
        """Whether the blob is in the bucket."""
        return self._head(self.key(sha256)) is not None

    def size(self, sha256: str) -> int:
        """Bytes of a blob."""
        head = self._head(self.key(sha256))
        if head is None:
            raise FileNotFoundError(f"blob {sha256} is not in the store")
        return int(head["ContentLength"])

    def delete(self, sha256: str) -> None:
        """Remove a blob."""
        for key in (self.key(sha256), self._renewal(sha256)):
            self.client.delete_object(Bucket=self.bucket, Key=key)
        self._cache.delete(sha256)

    def stored(self) -> Iterator[Stored]:
        """Every blob of the bucket below the prefix."""
        renewed = {name: at for name, _, at in self._listed("renewed/")}
        for name, size, at in self._listed(""):
            if _BLOB.fullmatch(name):  # uploads on their way and renewals lie beside them
                sha256 = name.replace("/", "")
                yield Stored(sha256, size, max(at, renewed.get(f"renewed/{sha256}", at)))

    def discard(self, sha256: str, before: float) -> bool:
        """Remove a blob unless its content was stored again since."""
        if self._head(self.key(sha256)) is None:
            return False
        for key in (self.key(sha256), self._renewal(sha256)):
            head = self._head(key)
            if head is not None and head["LastModified"].timestamp() >= before:
                return False
        self.delete(sha256)
        return True

    def _listed(self, folder: str) -> Iterator[tuple[str, int, float]]:
        """Name below the prefix, bytes and date of every object in a folder."""
        prefix = self.named("")
        for page in self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.named(folder)
        ):
            for item in page.get("Contents", []):
                yield item["Key"].removeprefix(prefix), int(item["Size"]), item["LastModified"].timestamp()

    def put_tree(self, directory: Path) -> Tree:
        """Store every file of a flat directory."""
        return put_tree(self, directory)

    def materialise(self, tree: Tree, directory: Path) -> Path:
        """Make a directory of a tree."""
        return materialise(self, tree, directory)

    def read_range(self, sha256: str, start: int, stop: int) -> bytes:
        """Bytes start .. stop - 1 of a blob."""
        answer = self.client.get_object(Bucket=self.bucket, Key=self.key(sha256), Range=f"bytes={start}-{stop - 1}")
        data: bytes = answer["Body"].read()
        return data

    @property
    def client(self) -> Any:
        """One client for each thread."""
        if not hasattr(self._local, "client"):
            retries = {"max_attempts": _ATTEMPTS, "mode": "standard"}
            self._local.client = boto3.session.Session().client(
                "s3", endpoint_url=self._endpoint, config=Config(retries=retries, connect_timeout=5, read_timeout=60)
            )
        return self._local.client

    def key(self, sha256: str) -> str:
        """Where a blob lies in the bucket."""
        check_sha256(sha256)
        return self.named(f"{sha256[:2]}/{sha256[2:]}")

    def named(self, name: str) -> str:
        """A name below the prefix."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        return head

    def renew(self, sha256: str) -> bool:
        """Whether the blob is there; if so it counts as stored now: an empty object of a new date says so.

        A copy of the blob onto itself would have a new date too, but takes as long and as much room as the blob is
        large.
        """
        if self._head(self.key(sha256)) is None:
            return False
        self.client.put_object(Bucket=self.bucket, Key=self._renewal(sha256), Body=b"")
        return True

    def _renewal(self, sha256: str) -> str:
        return self.named(f"renewed/{sha256}")

    def _fetch(self, sha256: str) -> None:
        """Into the cache, whole or not at all, and only if it is what its name says."""
        self._make_room(self.size(sha256))
        incoming = self._cache.root / "incoming" / uuid.uuid4().hex
        try:
            transfer = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
            self.client.download_file(self.bucket, self.key(sha256), str(incoming), Config=transfer)
            if self._cache.put_file(incoming) != sha256:
                raise OSError(f"the store gave other bytes for {sha256} than were put there")
        finally:
            incoming.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Throw out of the cache what was used longest ago, until a file of a size fits; mapped files live on."""
        self._added += size
        if self._added < _LOOK_SHARE * self._cache_bytes:
            return  # looking at every file for each small one would take longer than fetching it
        self._added = 0
        held = sorted(self._cache.stored(), key=lambda blob: blob.modified)
        total = size + sum(blob.size for blob in held)
        for blob in held:
            if total <= self._cache_bytes:
                return
            if self._cache.discard(blob.sha256, time.time() - YOUNG_SECONDS):
                total -= blob.size


class _Ranges(io.RawIOBase):
    """A blob in the bucket as a file that can be sought."""

    def __init__(self, store: S3Store, sha256: str, size: int) -> None:
        self._store, self._sha256, self._size = store, sha256, size
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place from the start, from here, or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next, as far as there is any."""
        stop = min(self._size, self._at + len(buffer))
        if stop <= self._at:
            return 0
        data = self._store.read_range(self._sha256, self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
