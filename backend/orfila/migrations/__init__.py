"""Migrations of the database, inside the package so that an installed wheel can run them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

_HERE = Path(__file__).parent


def config(url: str) -> Config:
    """Alembic's configuration for one database, without a file."""
    result = Config()
    result.set_main_option("script_location", str(_HERE))
    result.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return result


def migrate(url: str) -> None:
    """Bring a database to this version's tables; an absent SQLite file is made, with its folder."""
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    command.upgrade(config(url), "head")


def revision(engine: Engine) -> str | None:
    """Which tables the database has; None before the first migration."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_current(engine: Engine) -> bool:
    """Whether the database has this version's tables."""
    return revision(engine) == ScriptDirectory.from_config(config(str(engine.url))).get_current_head()


__all__ = ["config", "is_current", "migrate", "revision"]
