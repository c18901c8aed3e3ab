"""Table of saved views."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now


class SavedView(Base):
    """A way to look at the evidence of any case of a project."""

    __tablename__ = "saved_views"
    __table_args__ = (UniqueConstraint("project_id", "created_by", "name"),)

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    view: Mapped[dict[str, Any]]
    is_shared: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)
