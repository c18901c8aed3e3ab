"""Tables of rounds. Whether an assignment is answered is not kept: it is, when its reviewer has a verdict."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, id_column, now


class ReviewRound(Base):
    """Images of a case that several people judge independently."""

    __tablename__ = "review_rounds"

    id: Mapped[str] = id_column()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(10), default="open")
    """open, paused, closed or signed_off."""
    reviewers_per_image: Mapped[int]
    blind: Mapped[bool]
    adjudicator_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    due_at: Mapped[datetime | None]
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class RoundImage(Base):
    """A training image of a round, and why it is in it."""

    __tablename__ = "round_images"

    round_id: Mapped[str] = mapped_column(ForeignKey("review_rounds.id", ondelete="CASCADE"), primary_key=True)
    image_index: Mapped[int] = mapped_column(primary_key=True)
    stratum: Mapped[str] = mapped_column(String(10))
    """certain, borderline or control."""


class Assignment(Base):
    """An image that a reviewer is asked about."""

    __tablename__ = "assignments"
    __table_args__ = (Index("ix_assignments_reviewer_id", "reviewer_id", "round_id"),)

    round_id: Mapped[str] = mapped_column(ForeignKey("review_rounds.id", ondelete="CASCADE"), primary_key=True)
    image_index: Mapped[int] = mapped_column(primary_key=True)
    reviewer_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    position: Mapped[int]
    """Place in the reviewer's own order, which is random, so that it says nothing."""
