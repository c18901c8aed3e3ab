"""Table of verdicts: rows of their reviewer, never overwritten. The newest of a reviewer on an image counts."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, now


class Verdict(Base):
    """A judgement of one training image by one reviewer; `verdict` null takes the earlier one back."""

    __tablename__ = "verdicts"
    __table_args__ = (
        Index("ix_verdicts_case_id", "case_id", "current"),
        Index(
            "uq_verdicts_current",
            "case_id",
            "reviewer_id",
            "image_index",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    image_index: Mapped[int]
    reviewer_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    verdict: Mapped[str | None] = mapped_column(String(8))
    reason: Mapped[str | None] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(default=now)
    current: Mapped[bool] = mapped_column(default=True)
    """Not yet followed by another of the same reviewer on the same image."""
