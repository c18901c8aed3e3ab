"""Table of maps."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now
from orfila.runs import Run


class FingerprintMap(Run, Base):
    """Where the training images of a case lie, when their fingerprints are laid out in a plane."""

    KIND = "map"

    __tablename__ = "maps"
    __table_args__ = (UniqueConstraint("case_id", "method"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    method: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(16), default="running")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)

    @property
    def of_case(self) -> str | None:
        """See `Run`."""
        return self.case_id
