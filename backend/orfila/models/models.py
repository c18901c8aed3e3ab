"""Table of classifiers."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, Owned, id_column, now


class ClassifierModel(Owned, Base):
    """A trained classifier: weights as a safetensors blob, its card, and what the check found."""

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_project_id", "project_id", "created_at"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default="checking")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    sha256: Mapped[str] = mapped_column(String(64))
    card: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    n_parameters: Mapped[int | None] = mapped_column(BigInteger)
    accuracy_train: Mapped[float | None]
    accuracy_test: Mapped[float | None]
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    preserved: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Kept as evidence: not to be deleted until somebody lifts it."""
    remedy_id: Mapped[str | None] = mapped_column(String(32))
    drill_id: Mapped[str | None] = mapped_column(String(32))
