"""Table of remedies."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now


class Remedy(Base):
    """A repair of a case's model, and its verification."""

    __tablename__ = "remedies"

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    method: Mapped[str] = mapped_column(String(16))
    remove: Mapped[dict[str, Any]]
    removed: Mapped[str] = mapped_column(String(64))
    """SHA-256 of a .npy blob: sorted int32 indices of the removed training images."""
    n_removed: Mapped[int]
    epochs: Mapped[int | None]
    learning_rate: Mapped[float | None]
    seed: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="running")
    error: Mapped[str | None]
    job_id: Mapped[str] = mapped_column(String(32))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    cleansed_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    verification: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
