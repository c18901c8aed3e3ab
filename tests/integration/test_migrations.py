"""Migrations on both databases: up to the tables of the models, down to nothing, up again, and with rows in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from stacks import Servers

import orfila.app  # noqa: F401 - every table
from orfila.db import Base, Database
from orfila.identity.models import User
from orfila.migrations import config, is_current, migrate
from orfila.projects.models import Project
from orfila.uploads.models import Upload


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'orfila.db'}"
    servers: Servers = request.getfixturevalue("servers")
    return servers.postgres.database()


def test_the_tables_are_those_of_the_models(url: str) -> None:
    migrate(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, Base.metadata) == []
    assert is_current(engine)
    engine.dispose()


def test_every_step_can_be_taken_back(url: str) -> None:
    migrate(url)
    command.downgrade(config(url), "base")
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    migrate(url)
    assert set(Base.metadata.tables) <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_rows_of_the_version_before_stay_as_they_are(url: str) -> None:
    """From 0004, the version that landed last, with an upload in it."""
    command.upgrade(config(url), "0004")
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO users (id, name, is_administrator, created_at) VALUES ('u', 'U', false, CURRENT_TIMESTAMP)",
            "INSERT INTO projects (id, name, created_at) VALUES ('p', 'P', CURRENT_TIMESTAMP)",
            'INSERT INTO uploads (id, project_id, owner_id, filename, purpose, size, "offset", state, created_at, '
            "expires_at, part) VALUES ('x', 'p', 'u', 'a.zip', 'dataset', 9, 4, 'receiving', CURRENT_TIMESTAMP, "
            "CURRENT_TIMESTAMP, 'y')",
        ):
            connection.execute(text(statement))
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.reading() as session:
        assert session.get_one(User, "u").name == "U"
        assert session.get_one(Project, "p").name == "P"
        upload = session.get_one(Upload, "x")
        assert (upload.offset, upload.state, upload.job_id, upload.converted_from) == (4, "receiving", None, None)
    database.dispose()
