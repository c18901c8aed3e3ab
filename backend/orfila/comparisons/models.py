"""Table of comparisons."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now
from orfila.runs import Run


class Comparison(Run, Base):
    """What other detectors flag for the affected images of a case."""

    KIND = "comparison"

    __tablename__ = "comparisons"

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    detectors: Mapped[list[Any]]
    state: Mapped[str] = mapped_column(String(16), default="running")
    error: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    @property
    def of_case(self) -> str | None:
        """See `Run`."""
        return self.case_id
