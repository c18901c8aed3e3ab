"""Every table of the product, for migrations: importing this module fills `Base.metadata`."""

from importlib import import_module

from orfila.db import Base

PARTS = (
    "audit",
    "cases",
    "checks",
    "comparisons",
    "datasets",
    "drills",
    "events",
    "idempotency",
    "identity",
    "indexes",
    "jobs",
    "maps",
    "models",
    "presence",
    "projects",
    "remedies",
    "review",
    "rounds",
    "sweeps",
    "talk",
    "uploads",
    "views",
    "webhooks",
)

for part in PARTS:
    import_module(f"orfila.{part}.models")

metadata = Base.metadata
