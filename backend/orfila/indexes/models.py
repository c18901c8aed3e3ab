"""Table of fingerprint indexes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now


class FingerprintIndex(Base):
    """The index of one model over one data set. `key` is the digest of everything that it depends on."""

    __tablename__ = "indexes"
    __table_args__ = (UniqueConstraint("project_id", "key"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(64))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="building")
    job_id: Mapped[str | None] = mapped_column(String(32))
    seed: Mapped[int] = mapped_column(default=0)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ekfac: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Files of the EK-FAC engine of the same model and data; empty until a case asked for it."""
    dimension: Mapped[int | None]
    seconds: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
