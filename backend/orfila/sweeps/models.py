"""Table of sweeps."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now
from orfila.runs import Run


class Sweep(Run, Base):
    """A scan of every class of a model's training data for poison, without any affected image."""

    KIND = "sweep"

    __tablename__ = "sweeps"
    __table_args__ = (Index("ix_sweeps_project_id", "project_id", "created_at"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    index_id: Mapped[str] = mapped_column(ForeignKey("indexes.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="running")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
