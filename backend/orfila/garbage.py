"""Garbage collection of the file store: `orfila gc` removes content that nothing refers to any more.

A blob is referred to when its digest stands in any row of any table, so a new table needs no entry here. Left out are
tables that only tell what happened (audit, events, remembered answers), and jobs that have succeeded, whose results
stand elsewhere. Three precautions make it safe beside a running installation: blobs are as old as a grace period at
least; storing content again makes it young; and what is referred to is read twice, so that a row which moves from one
table to another meanwhile is seen in one of them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from sqlalchemy import JSON, Column, Select, String, Table, select
from sqlalchemy.orm import Session

from orfila.db import Database
from orfila.settings import get_settings
from orfila.storage import BlobStore, get_store
from orfila.tables import metadata

GRACE_HOURS = 24.0
_TOLD = ("audit_events", "events", "job_logs", "kept_answers")
"""They mention digests of what is long gone."""
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ROWS = 500


@dataclass(frozen=True)
class Collected:
    """What a collection found."""

    n_kept: int
    n_removed: int
    bytes_removed: int


def collect(database: Database, store: BlobStore, *, grace_seconds: float, dry_run: bool = False) -> Collected:
    """Remove every blob that nothing refers to and that is older than the grace period; dry_run: only count them."""
    before = time.time() - grace_seconds
    referred: set[str] = set()
    for _ in range(2):
        with database.reading() as session:
            referred |= set(references(session))
    kept = removed = freed = 0
    for blob in store.stored():
        if blob.sha256 in referred or blob.modified >= before:
            kept += 1
        elif dry_run or store.discard(blob.sha256, before):
            removed += 1
            freed += blob.size
        else:
            kept += 1
    return Collected(kept, removed, freed)


def references(session: Session) -> Iterator[str]:
    """Every SHA-256 that a row holds, whatever it stands for."""
    for table in metadata.sorted_tables:
        if table.name in _TOLD:
            continue
        columns = [column for column in table.columns if _may_hold(column)]
        if not columns:
            continue
        for row in session.execute(_rows_of(table, columns)).yield_per(_ROWS):
            for value in row:
                if value is not None:
                    yield from _DIGEST.findall(value if isinstance(value, str) else json.dumps(value))


def _may_hold(column: Column[object]) -> bool:
    """Whether a digest fits into a column."""
    if isinstance(column.type, String):
        return column.type.length is None or column.type.length >= 64
    return isinstance(column.type, JSON)


def _rows_of(table: Table, columns: Sequence[object]) -> Select[tuple[object, ...]]:
    chosen = select(*columns)  # type: ignore[call-overload]
    if table.name == "jobs":
        return chosen.where(table.c.state != "succeeded")  # type: ignore[no-any-return]
    if table.name == "shards":
        jobs = metadata.tables["jobs"]
        return chosen.where(  # type: ignore[no-any-return]
            table.c.job_id.in_(select(jobs.c.id).where(jobs.c.state != "succeeded"))
        )
    return chosen  # type: ignore[no-any-return]


def gc(
    older_than: Annotated[
        float, typer.Option(min=0, help="Hours. Content that was stored since is left alone, whoever needs it.")
    ] = GRACE_HOURS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove files that nothing refers to any more. Safe beside a running installation."""
    settings = get_settings()
    database = Database(settings.resolved_database_url)
    try:
        found = collect(database, get_store(settings), grace_seconds=older_than * 3600, dry_run=dry_run)
    finally:
        database.dispose()
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{found.n_removed:,} files ({found.bytes_removed / 1e6:,.1f} MB) {verb}, {found.n_kept:,} kept")
