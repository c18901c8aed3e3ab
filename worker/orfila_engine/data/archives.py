"""Safe, streaming reading of directories, zip and tar archives.

Nothing is ever extracted: entries are read one by one, names are data, and every cap is checked before bytes are used.
"""

from __future__ import annotations

import os
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa

MAX_ENTRIES = 4_000_000
MAX_ENTRY_BYTES = 64 * 2**20
MAX_TOTAL_BYTES = 500 * 2**30
MAX_RATIO = 200
MAX_DEPTH = 8
_RATIO_FLOOR = 2**20
_PIECE = 2**20
_ZSTD = b"\x28\xb5\x2f\xfd"
_FIRST = 64
"""A kind of archive is recognised by its first entries; a large tar must not be unpacked to find out."""
_UTF8_NAME = 0x800
"""Flag of a zip entry whose name is UTF-8; without it zipfile decodes the name as code page 437."""


class DataError(ValueError):
    """A data set that cannot be used; the sentence says why and what to do."""


@dataclass(frozen=True)
class Entry:
    """One regular file: its normalised name and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class OpenEntry:
    """One regular file that is not read yet."""

    name: str
    size: int
    file: IO[bytes]
    """At its start; usable until the next entry is asked for."""


def safe_name(raw: str) -> str:
    """The NFC form of an archive name.

    Raises DataError for names that could escape a folder or deceive a reader: absolute, `..`, drives, backslashes, NUL,
    control or bidirectional characters, deeper than 8 folders.
    """
    name = unicodedata.normalize("NFC", raw)
    shown = repr(raw[:120])
    if not name or name.startswith("/") or (len(name) > 1 and name[1] == ":") or "\\" in name:
        raise DataError(f"the archive holds the unsafe path {shown}; pack it again with relative paths and '/' only")
    for char in name:
        if unicodedata.category(char) in ("Cc", "Cf", "Cs") or char == "\x00":
            raise DataError(f"the archive holds a name with control or invisible characters: {shown}; rename it")
    parts = [p for p in name.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise DataError(f"the archive holds the unsafe path {shown}; pack it again without '..'")
    if not parts or len(parts) > MAX_DEPTH:
        raise DataError(f"{shown} is nested deeper than {MAX_DEPTH} folders; flatten the archive")
    return "/".join(parts)


class _Budget:
    """Counts entries and bytes, and refuses names that differ only by case."""

    def __init__(self, packed_size: int, max_entry_bytes: int) -> None:
        self._max_entry_bytes = max_entry_bytes
        self._limit = min(MAX_TOTAL_BYTES, max(_RATIO_FLOOR, packed_size) * MAX_RATIO)
        self._seen: set[str] = set()
        self._bytes = 0

    def admit(self, name: str, size: int) -> None:
        key = name.casefold()
        if key in self._seen:
            raise DataError(f"the archive holds {name!r} twice (names that differ only by case count as the same)")
        self._seen.add(key)
        if len(self._seen) > MAX_ENTRIES:
            raise DataError(f"the archive holds more than {MAX_ENTRIES:,} files; split it")
        if size > self._max_entry_bytes:
            raise DataError(
                f"{name!r} is larger than {self._max_entry_bytes // 2**20} MiB; files of that size are not accepted"
            )
        self._bytes += size
        if self._bytes > self._limit:
            raise DataError("the archive unpacks to far more than its own size, as a decompression bomb does; refused")


def read_entries(
    source: Path, *, max_entry_bytes: int = MAX_ENTRY_BYTES, is_wanted: Callable[[str], bool] | None = None
) -> Iterator[Entry]:
    """Every regular file of a directory or archive, in the order of the archive (of names, for a directory).

    max_entry_bytes: the largest file that is accepted; the default is ample for a picture.
    is_wanted: is asked by the name of each file in turn; the others are not read.
    Raises DataError when the source is neither, or on the first entry that breaks a rule of this module.
    """
    with _telling(source):
        for entry in _entries(source, max_entry_bytes):
            if is_wanted is not None and not is_wanted(entry.name):
                continue
            data = entry.file.read(entry.size + 1)
            if len(data) != entry.size:
                raise DataError(f"{entry.name!r} is not as large as the archive says; pack it again")
            yield Entry(entry.name, data)


def copy_entries(source: Path, folder: Path, suffix: str, *, max_entry_bytes: int) -> Iterator[tuple[str, Path]]:
    """Files whose name ends in `suffix`, copied piece by piece into a folder under names of our own: (name, copy).

    Raises DataError as `read_entries` does.
    """
    with _telling(source):
        for number, entry in enumerate(_entries(source, max_entry_bytes)):
            if not entry.name.lower().endswith(suffix):
                continue
            path, left = folder / f"{number:06d}{suffix}", entry.size
            with path.open("wb") as copy:
                while left > 0 and (piece := entry.file.read(min(_PIECE, left))):
                    copy.write(piece)
                    left -= len(piece)
            if left > 0 or entry.file.read(1):
                raise DataError(f"{entry.name!r} is not as large as the archive says; pack it again")
            yield entry.name, path


def _entries(source: Path, max_entry_bytes: int) -> Iterator[OpenEntry]:
    if source.is_dir():
        yield from _directory(source, max_entry_bytes)
    elif not source.is_file():
        raise DataError(f"{source} does not exist; give a folder, a zip or a tar archive")
    elif zipfile.is_zipfile(source):
        yield from _zip(source, max_entry_bytes)
    elif _is_tar(source):
        yield from _tar(source, max_entry_bytes)
    else:
        raise DataError(f"{source.name} is neither a zip nor a tar archive; pack the class folders into one of them")


@contextmanager
def _telling(source: Path) -> Iterator[None]:
    """Turns what the libraries raise for damaged archives into a sentence."""
    try:
        yield
    # zipfile raises NotImplementedError for a compression that it does not know.
    except (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, EOFError, OSError) as error:
        raise DataError(f"{source.name} is damaged or uses an unknown compression ({error}); pack it again") from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "_lzma", "_bz2"):
            raise DataError(f"{source.name} is damaged ({error}); pack it again") from error
        raise


def first_names(source: Path) -> list[str]:
    """Names of the first files of a directory, zip or tar; none for what is no sound archive."""
    try:
        if source.is_dir():
            files = (path for path in source.rglob("*") if path.is_file())
            return [path.relative_to(source).as_posix() for path in islice(files, _FIRST)]
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                return archive.namelist()[:_FIRST]
        if source.is_file() and _is_tar(source):
            with _opened_tar(source) as members:
                return [member.name for member in islice(members, _FIRST)]
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, NotImplementedError):
        pass  # NotImplementedError: a compression that zipfile does not know
    return []


def _directory(root: Path, max_entry_bytes: int) -> Iterator[OpenEntry]:
    budget = _Budget(MAX_TOTAL_BYTES, max_entry_bytes)
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file_name in sorted(files):
            path = Path(folder) / file_name
            name = safe_name(path.relative_to(root).as_posix())
            if path.is_symlink() or not path.is_file():
                raise DataError(f"{name!r} is a link or a device; copy the picture itself into the folder")
            size = path.stat().st_size
            budget.admit(name, size)
            with path.open("rb") as file:
                yield OpenEntry(name, size, file)


def _zip(source: Path, max_entry_bytes: int) -> Iterator[OpenEntry]:
    with zipfile.ZipFile(source) as archive:
        infos = archive.infolist()
        if len(infos) > MAX_ENTRIES:
            raise DataError(f"the archive holds more than {MAX_ENTRIES:,} files; split it")
        _refuse_overlap(infos)
        budget = _Budget(source.stat().st_size, max_entry_bytes)
        for info in infos:
            name = safe_name(info.filename)
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise DataError(f"{name!r} is a link or a device; the archive may hold regular files only")
            if info.flag_bits & 0x1:
                raise DataError(f"{name!r} is encrypted; pack the archive without a password")
            budget.admit(name, info.file_size)
            with archive.open(info) as file:
                yield OpenEntry(name, info.file_size, file)


def _refuse_overlap(infos: list[zipfile.ZipInfo]) -> None:
    """Entries that share bytes claim far more than the file holds; Python 3.11 does not see them."""
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset < end:
            raise DataError("the zip's entries overlap, as a decompression bomb's do; refused")
        encoding = "utf-8" if info.flag_bits & _UTF8_NAME else "cp437"
        end = info.header_offset + 30 + len(info.orig_filename.encode(encoding)) + info.compress_size


def _is_tar(source: Path) -> bool:
    with source.open("rb") as file:
        if file.read(len(_ZSTD)) != _ZSTD:
            return tarfile.is_tarfile(source)
    try:
        with _opened_tar(source):
            return True
    except (tarfile.TarError, EOFError, OSError):
        return False


@contextmanager
def _opened_tar(source: Path) -> Iterator[tarfile.TarFile]:
    """A tar of any compression; Python 3.11 knows all but Zstandard, which Arrow unpacks as a stream."""
    with source.open("rb") as file:
        if file.read(len(_ZSTD)) != _ZSTD:
            with tarfile.open(source, "r:*") as archive:
                yield archive
            return
    with (
        pa.CompressedInputStream(pa.OSFile(str(source)), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        yield archive


def _tar(source: Path, max_entry_bytes: int) -> Iterator[OpenEntry]:
    with _opened_tar(source) as archive:
        budget = _Budget(source.stat().st_size, max_entry_bytes)
        for member in archive:
            name = safe_name(member.name)
            if member.isdir():
                continue
            if not member.isreg():
                raise DataError(f"{name!r} is a link or a device; the archive may hold regular files only")
            budget.admit(name, member.size)
            file = archive.extractfile(member)
            assert file is not None  # only for members that are no regular files
            yield OpenEntry(name, member.size, file)
