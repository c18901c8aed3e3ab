"""Table of uploads. `offset` is the truth: bytes beyond it in the file do not count."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from orfila.db import Base, Owned, id_column, new_id, now
from orfila.uploads.schemas import UploadPurpose, UploadState


class UploadSegment(Base):
    """Bytes of an unfinished upload in a bucket. Only those that stand here count."""

    __tablename__ = "upload_segments"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    length: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(255))


class Upload(Owned, Base):
    """A file on its way in."""

    __tablename__ = "uploads"

    id: Mapped[str] = id_column()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    filename: Mapped[str] = mapped_column(String(255))
    purpose: Mapped[UploadPurpose] = mapped_column(String(16))
    size: Mapped[int] = mapped_column(BigInteger)
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[UploadState] = mapped_column(String(16), default="receiving", index=True)
    sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    job_id: Mapped[str | None] = mapped_column(String(32))
    """The conversion that makes it of another upload."""
    error: Mapped[str | None]
    converted_from: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of the file that it was converted from."""
    part: Mapped[str] = mapped_column(String(32), default=new_id)
    """Name of the file that holds the bytes. Whoever takes over from a silent writer gets a file of its own."""
    writer: Mapped[str | None] = mapped_column(String(32))
    writer_until: Mapped[datetime | None]
