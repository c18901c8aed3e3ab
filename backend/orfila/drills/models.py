"""Table of drills."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now
from orfila.runs import Run


class Drill(Run, Base):
    """A known poison planted in a copy of a clean data set, to measure what an investigation finds of it."""

    KIND = "drill"

    __tablename__ = "drills"
    __table_args__ = (Index("ix_drills_project_id", "project_id", "created_at"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    """The clean data set."""
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default="running")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    attack: Mapped[str] = mapped_column(String(32))
    rate: Mapped[float]
    source: Mapped[int | None]
    target: Mapped[int | None]
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    architecture: Mapped[str] = mapped_column(String(120))
    epochs: Mapped[int]
    seed: Mapped[int]
    n_affected: Mapped[int]
    n_queries: Mapped[int]
    poisoned_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    triggered_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"), index=True)
    truth: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of a .npy blob: sorted int32 indices of the poisoned training images."""
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
