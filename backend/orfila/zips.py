"""Zip archives that are made while they are sent: no file of that size is ever written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK = 1 << 20
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The same for every entry, so that the same content is the same file."""


class ZipStream:
    """Entries in order; `taken` gives what can be sent. Use it as a context, and take once more after it."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._archive = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> ZipStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def add(self, name: str, data: bytes | str) -> None:
        """An entry that stands in memory."""
        self._archive.writestr(zipfile.ZipInfo(name, _EARLIEST), data)

    def copy(self, name: str, source: BinaryIO) -> Iterator[bytes]:
        """An entry that is read from a file, and what can be sent meanwhile."""
        info = zipfile.ZipInfo(name, _EARLIEST)
        with self._archive.open(info, "w", force_zip64=True) as entry:
            while block := source.read(_BLOCK):
                entry.write(block)
                yield self.taken()

    def taken(self) -> bytes:
        """What was written since the last time."""
        return self._sink.taken()


class _Sink(io.RawIOBase):
    """Takes what a ZipFile writes, in order, and gives it on. It cannot be sought, so the ZipFile never goes back."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: object) -> int:
        """Hold the bytes until they are taken."""
        block = bytes(data)  # type: ignore[call-overload]
        self._held += block
        return len(block)

    def taken(self) -> bytes:
        """What was written since the last time."""
        held, self._held = bytes(self._held), bytearray()
        return held
