"""Table of answers that were given under an Idempotency-Key."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, now


class KeptAnswer(Base):
    """The answer to the first request with a key, given again to every repetition."""

    __tablename__ = "kept_answers"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_digest: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=now, index=True)
