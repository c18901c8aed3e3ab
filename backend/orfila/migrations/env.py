"""How Alembic connects: with the product's own engine, so that SQLite gets its settings, in one transaction."""

from alembic import context

from orfila.db import make_engine
from orfila.tables import metadata

url = context.config.get_main_option("sqlalchemy.url")
if url is None:
    raise ValueError("no database address was given; run `orfila migrate`")
engine = make_engine(url)
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True)
    context.run_migrations()
engine.dispose()
