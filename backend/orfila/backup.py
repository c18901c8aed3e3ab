"""`orfila backup` and `orfila restore`: all rows and all files that they refer to, as one tar.

The rows are read in one transaction, as JSON lines for each table, so a backup of SQLite can be restored on PostgreSQL
and the other way round: that is also how an installation moves from one machine to many. Files are taken afterwards;
what a row refers to is never removed from a running installation before `orfila gc`'s grace period is over.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import DateTime, Integer, Table, TypeDecorator, func, insert, select, text
from sqlalchemy.orm import Session

from orfila import __version__
from orfila.audit.service import check as check_audit
from orfila.db import Database, UtcDateTime
from orfila.errors import Conflict, Unprocessable
from orfila.garbage import references
from orfila.migrations import is_current, migrate, revision
from orfila.settings import get_settings
from orfila.storage import BlobStore, get_store
from orfila.tables import metadata

FORMAT = "orfila-backup/1"
_ABOUT = "backup.json"
_ROWS = 500
_UNFINISHED = ("upload_segments", "workers", "events")
"""Left out: bytes of uploads on their way, who is there, and what browsers are told."""


@dataclass(frozen=True)
class Saved:
    """What a backup holds."""

    rows: int
    files: int
    bytes: int


def backup(database: Database, store: BlobStore, target: Path) -> Saved:
    """Write a tar, whole or not at all. Raises Conflict for a database of another version or an existing file."""
    if target.exists():
        raise Conflict(f"{target} exists already; choose another name, or remove it.", code="file_exists")
    if not is_current(database.engine):
        raise Conflict("The database has not this version's tables; run `orfila migrate` first.", code="not_migrated")
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    rows = files = size = 0
    part.touch(mode=0o600)
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
        about = {"format": FORMAT, "version": __version__, "revision": revision(database.engine)}
        _add(archive, _ABOUT, json.dumps(about | {"made": datetime.now(UTC).isoformat()}).encode())
        with database.reading() as session:
            if database.engine.dialect.name == "postgresql":
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            for table in _tables():
                rows += _add_rows(archive, session, table)
            wanted = sorted(set(references(session)))
        for sha256 in wanted:
            if not store.exists(sha256):
                continue  # a digest of something else: of an archive's content, a model, a result
            path = store.local_path(sha256)
            archive.add(path, f"blobs/{sha256[:2]}/{sha256[2:]}", recursive=False)
            files, size = files + 1, size + path.stat().st_size
    part.replace(target)
    return Saved(rows, files, size)


def restore(database: Database, store: BlobStore, source: Path) -> Saved:
    """Fill an empty, migrated installation; no row is written unless every row and file is sound.

    Raises Conflict when the installation is not empty, Unprocessable for what is no backup of this version's tables.
    """
    try:
        with tarfile.open(source, "r:") as archive:
            return _restore(database, store, archive)
    except tarfile.TarError as error:
        raise Unprocessable(f"{source.name} is no backup, or damaged ({error}).", code="bad_backup") from error


def _restore(database: Database, store: BlobStore, archive: tarfile.TarFile) -> Saved:
    members = iter(archive)
    about = _read_about(archive, next(members, None))
    here = revision(database.engine)
    if about["revision"] != here:
        raise Unprocessable(
            f"The backup was made by version {about['version']} with other tables ({about['revision']}, here {here}); "
            "restore it with that version, then run `orfila migrate` of this one.",
            code="other_version",
        )
    tables, rows, files, size = {table.name: table for table in _tables()}, 0, 0, 0
    with database.transaction() as session:
        if any(session.execute(select(func.count()).select_from(table)).scalar_one() for table in tables.values()):
            raise Conflict("This installation is not empty; restore into a new data folder or database.", code="in_use")
        for member in members:
            file = archive.extractfile(member)
            if file is None:
                continue
            folder, _, name = member.name.partition("/")
            if folder == "tables" and name in tables:
                rows += _insert(session, tables[name], file)
            elif folder == "blobs":
                _store(store, file, name.replace("/", ""))
                files, size = files + 1, size + member.size
        _after(session, tables)
        chain = check_audit(session)
        if not chain.ok:
            raise Unprocessable(
                f"The audit trail in the backup is broken at event {chain.first_broken_id}.", code="audit_broken"
            )
    return Saved(rows, files, size)


def _read_about(archive: tarfile.TarFile, first: tarfile.TarInfo | None) -> dict[str, Any]:
    file = archive.extractfile(first) if first is not None and first.name == _ABOUT else None
    about: Any = json.loads(file.read()) if file is not None else None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise Unprocessable("This is no backup of Orfila.", code="bad_backup")
    return about


def _tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name not in _UNFINISHED]


def _add_rows(archive: tarfile.TarFile, session: Session, table: Table) -> int:
    """A table as JSON lines, by way of a scratch file: tar wants to know the size first."""
    number = 0
    order = [table.c.created_at] if "created_at" in table.c else []  # a version stands after the one that it is of
    with tempfile.TemporaryFile() as scratch:
        for row in session.execute(select(table).order_by(*order, *table.primary_key)).yield_per(_ROWS):
            values = {name: _plain(value) for name, value in row._mapping.items()}
            scratch.write(json.dumps(values, separators=(",", ":")).encode() + b"\n")
            number += 1
        member = tarfile.TarInfo(f"tables/{table.name}")
        member.size = scratch.tell()
        scratch.seek(0)
        archive.addfile(member, scratch)
    return number


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _insert(session: Session, table: Table, file: Any) -> int:
    moments = {c.name for c in table.c if isinstance(c.type, UtcDateTime | DateTime)}
    number = 0
    for batch in _batches(file):
        for row in batch:
            for name in moments & row.keys():
                if row[name] is not None:
                    row[name] = datetime.fromisoformat(row[name])
        session.execute(insert(table), batch)
        number += len(batch)
    return number


def _batches(file: Any) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for line in file:
        batch.append(json.loads(line))
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _store(store: BlobStore, file: Any, sha256: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="orfila-restore-") as scratch:
        while piece := file.read(2**20):
            scratch.write(piece)
        scratch.flush()
        if store.put_file(Path(scratch.name)) != sha256:
            raise Unprocessable(f"The file {sha256} in the backup is damaged.", code="bad_backup")


def _after(session: Session, tables: dict[str, Table]) -> None:
    """What came with the rows and cannot go on: bytes of uploads on their way. Numbering goes on after the last row."""
    uploads = tables["uploads"]
    session.execute(uploads.update().where(uploads.c.state == "receiving").values(state="expired"))
    if session.get_bind().dialect.name != "postgresql":
        return
    for table in tables.values():
        for column in table.primary_key:
            if isinstance(_plain_type(column.type), Integer) and len(table.primary_key) == 1:
                session.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608
                         f"(SELECT COALESCE(MAX({column.name}), 0) + 1 FROM {table.name}), false)")
                )  # fmt: skip


def _plain_type(kind: Any) -> Any:
    return kind.impl if isinstance(kind, TypeDecorator) else kind


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def backup_command(
    target: Annotated[Path, typer.Argument(help="The tar to write.")],
) -> None:
    """Save all rows and files of this installation as one tar. Safe beside a running installation."""
    settings = get_settings()
    database = Database(settings.resolved_database_url)
    try:
        saved = backup(database, get_store(settings), target)
    finally:
        database.dispose()
    typer.echo(f"{saved.rows:,} rows and {saved.files:,} files ({saved.bytes / 1e6:,.1f} MB) are in {target}")


def restore_command(
    source: Annotated[Path, typer.Argument(help="A tar of `orfila backup`.", exists=True)],
) -> None:
    """Fill a new, empty installation from a backup; it may be of another kind of database or storage."""
    settings = get_settings()
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    try:
        saved = restore(database, get_store(settings), source)
    finally:
        database.dispose()
    typer.echo(f"{saved.rows:,} rows and {saved.files:,} files ({saved.bytes / 1e6:,.1f} MB) are restored")
