"""Table of checks."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now
from orfila.runs import Run


class RegressionCheck(Run, Base):
    """Whether a model makes the mistakes of closed cases again."""

    KIND = "check"

    __tablename__ = "checks"
    __table_args__ = (Index("ix_checks_model_id", "model_id", "created_at"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(16), default="running")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
