"""Table of data set versions. What belongs to single images is in the pack's files, never in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, Owned, id_column, now


class Dataset(Owned, Base):
    """An immutable data set version. A cleansed one shares its parent's files and names what was removed."""

    __tablename__ = "datasets"
    __table_args__ = (Index("ix_datasets_project_id", "project_id", "created_at"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default="ingesting")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    sha256: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[str | None] = mapped_column(String(64))
    classes: Mapped[list[Any]] = mapped_column(default=list)
    height: Mapped[int | None]
    width: Mapped[int | None]
    channels: Mapped[int | None]
    n_train: Mapped[int] = mapped_column(default=0)
    n_test: Mapped[int] = mapped_column(default=0)
    counts: Mapped[dict[str, Any]] = mapped_column(default=lambda: {"train": [], "test": []})
    intake: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    atlas: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    removed: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of a .npy blob: sorted int32 indices of the training images left out of the parent."""
    n_removed: Mapped[int | None]
    preserved: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Kept as evidence: not to be deleted until somebody lifts it."""
    drill_id: Mapped[str | None] = mapped_column(String(32))
    """The drill that made it, if one did."""
