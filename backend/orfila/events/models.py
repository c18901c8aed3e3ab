"""Table of news."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, now


class Event(Base):
    """Something changed. The id is the order, and the `id` of the server-sent event."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_at", "at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    topic: Mapped[str] = mapped_column(String(32))
    project_id: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]]
