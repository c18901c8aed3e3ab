"""Table of cases. Scores of training images are in the investigation's files, never in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, Owned, id_column, now


class Case(Owned, Base):
    """An investigation of one or several affected images with one symptom."""

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index("ix_cases_project_id", "project_id", "created_at"),
    )

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    number: Mapped[int]
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default="scoring")
    state_before_archive: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[str | None]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    triggered_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    index_id: Mapped[str] = mapped_column(ForeignKey("indexes.id"), index=True)
    n_queries: Mapped[int]
    seed: Mapped[int]
    suspects: Mapped[str] = mapped_column(String(8))
    engine: Mapped[str] = mapped_column(String(16), default="fingerprint")
    rule: Mapped[str] = mapped_column(String(16), default="collapse")
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    sources: Mapped[list[Any]]
    """`AffectedSpec` of each affected image: what the engine is given."""
    affected: Mapped[list[Any]]
    """`AffectedImage` of each: what is known of it."""
    early: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`EarlyLook` while the case is being scored."""
    finding: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    result_digest: Mapped[str | None] = mapped_column(String(64))
