"""Table of who looks at which case. Rows are forgotten within a minute."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base


class Viewer(Base):
    """A person who has a case open, as their browser says every few seconds."""

    __tablename__ = "viewers"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    seen_at: Mapped[datetime]
