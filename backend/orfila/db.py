"""The database: one declarative base, one engine for each process, one transaction for each request or task.

Code below the edge (services, repositories) never commits. Times are UTC and, where they decide something between
processes (leases), come from the database's clock.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Engine, MetaData, String, TypeDecorator, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

SQLITE_BUSY_MS = 15_000
TURN_SECONDS = 60.0
"""How long a thread waits for those of its process that write before it, on SQLite."""
_SQLITE_CONNECTIONS = 100
"""More than a process has threads for requests: who waits for a turn holds a connection, and readers need one too."""


_TURN = "orfila has the turn to write"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database: SQLite forgets time zones, so they are put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: they would mean different moments on different machines."""
        if value is not None and value.tzinfo is None:
            raise ValueError("times must carry a time zone")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give SQLite's naive times their zone back."""
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class Base(DeclarativeBase):
    """Every table. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        str: String(),
    }


class Owned:
    """Mixin of tables of what a project holds, listed newest first; each table says the columns itself."""

    id: Mapped[str]
    project_id: Mapped[str]
    created_at: Mapped[datetime]


def new_id() -> str:
    """A random id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """This machine's time in UTC, for records; leases use the database's clock instead."""
    return datetime.now(UTC)


def id_column() -> Any:
    """A primary key of random ids."""
    return mapped_column(String(32), primary_key=True, default=new_id)


def make_engine(url: str) -> Engine:
    """An engine for SQLite (write-ahead log, foreign keys on, explicit transactions) or PostgreSQL."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_MS / 1000, "check_same_thread": False},
        max_overflow=_SQLITE_CONNECTIONS,
    )
    # SQLite lets those who wait for a writer sleep and look again, longer each time, and whoever looks at the right
    # moment goes first: with fifty people who judge at once, some waited for half a minute and were refused. Threads of
    # one process therefore take turns here, and only one of them waits for the other processes.
    turn = threading.Lock()

    @event.listens_for(engine, "connect")
    def _on_connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        # A deferred transaction that turns into a writer fails at once when another writer came first;
        # IMMEDIATE waits for its turn instead. Readers say so by the execution option `readonly`.
        if connection.get_execution_options().get("readonly", False):
            connection.exec_driver_sql("BEGIN")
            return
        connection.info[_TURN] = turn.acquire(timeout=TURN_SECONDS)
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            _end_of_turn(connection)
            raise

    def _end_of_turn(of: Any) -> None:
        if of.info.pop(_TURN, False):
            turn.release()

    @event.listens_for(engine, "commit")
    @event.listens_for(engine, "rollback")
    def _on_end(connection: Any) -> None:
        if not connection.invalidated:
            _end_of_turn(connection)

    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    def _on_broken(connection: DBAPIConnection, record: ConnectionPoolEntry, *_: object) -> None:
        _end_of_turn(record)

    return engine


class Database:
    """Opens transactions on one engine."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)
        """Read-write sessions; event listeners go here."""
        self._reader = sessionmaker(self.engine.execution_options(readonly=True), expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A read-write transaction: committed at the end, rolled back on any error."""
        with self.sessions.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A read-only transaction that waits for no writer."""
        with self._reader() as session:
            yield session

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()
