"""Tables of verdicts: rows of their reviewer, never overwritten. The newest of a reviewer on an image counts."""

from datetime import datetime
from typing import Any

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


class VerdictBatch(Base):
    """Verdicts that a reviewer gave at once, and what they followed: what is undone and redone as one."""

    __tablename__ = "verdict_batches"
    __table_args__ = (
        Index("ix_verdict_batches_case_id", "case_id", "reviewer_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    reviewer_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    given: Mapped[list[Any]]
    """[index, verdict, reason] each."""
    previous: Mapped[list[Any]]
    undone: Mapped[bool] = mapped_column(default=False)


class Resolution(Base):
    """The final word on an image that reviewers disagreed about."""

    __tablename__ = "resolutions"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    image_index: Mapped[int] = mapped_column(primary_key=True)
    verdict: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str | None] = mapped_column(String(500))
    adjudicator_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(default=now)
