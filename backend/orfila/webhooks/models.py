"""Tables of webhooks and of what was sent to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now


class Webhook(Base):
    """An address that is told of a project's events. Events are entries of the audit trail, by their action."""

    __tablename__ = "webhooks"

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(64))
    """Signs what is sent, so it is kept as it is."""
    events: Mapped[list[Any]]
    active: Mapped[bool] = mapped_column(default=True)
    last_event_id: Mapped[int] = mapped_column(BigInteger)
    """Of the audit trail: the last one that was looked at."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class Delivery(Base):
    """One event for one webhook."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_state", "state", "due_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    event: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(9), default="pending")
    """pending, delivered or failed."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float] = mapped_column(Double)
    """By the database's clock, seconds since 1970."""
    status: Mapped[int | None]
    """HTTP status of the last answer."""
    error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
