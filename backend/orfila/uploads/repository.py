"""All SQL of uploads. Every change while bytes arrive is a compare-and-set, so that a late writer changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from orfila.storage import Segment
from orfila.uploads.models import Upload, UploadSegment


def reserved_bytes(session: Session, project_id: str) -> int:
    """Bytes that a project's uploads hold or have reserved."""
    query = select(func.coalesce(func.sum(Upload.size), 0)).where(
        Upload.project_id == project_id, Upload.state != "expired"
    )
    return int(session.scalar(query) or 0)


def bytes_to_come(session: Session) -> int:
    """Bytes that unfinished uploads of all projects may still write."""
    query = select(func.coalesce(func.sum(Upload.size - Upload.offset), 0)).where(Upload.state == "receiving")
    return int(session.scalar(query) or 0)


def expired(session: Session, at: datetime) -> list[Upload]:
    """Unfinished uploads whose time is over."""
    return list(session.scalars(select(Upload).where(Upload.state == "receiving", Upload.expires_at <= at)))


def claim(session: Session, upload: Upload, writer: str, part: str, until: datetime) -> bool:
    """Become the writer of an upload as it was read; False when anything changed in between."""
    result = session.execute(
        update(Upload)
        .where(
            Upload.id == upload.id,
            Upload.state == "receiving",
            Upload.offset == upload.offset,
            Upload.part == upload.part,
            Upload.writer.is_not_distinct_from(upload.writer),
        )
        .values(writer=writer, part=part, writer_until=until)
        .execution_options(synchronize_session=False)
        .returning(Upload.id)
    )
    return result.first() is not None


def advance(
    session: Session,
    upload_id: str,
    writer: str,
    old: int,
    new: int,
    until: datetime,
    segments: Sequence[Segment] = (),
) -> bool:
    """Commit bytes, with the segments that hold them in a bucket; False when another writer took over."""
    result = session.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.writer == writer, Upload.offset == old, Upload.state == "receiving")
        .values(offset=new, writer_until=until)
        .returning(Upload.id)
    )
    if result.first() is None:
        return False
    session.add_all(UploadSegment(upload_id=upload_id, start=s.start, length=s.length, key=s.key) for s in segments)
    return True


def segments(session: Session, upload_id: str) -> list[Segment]:
    """The segments of an upload in a bucket, in order."""
    rows = session.scalars(
        select(UploadSegment).where(UploadSegment.upload_id == upload_id).order_by(UploadSegment.start)
    )
    return [Segment(row.start, row.length, row.key) for row in rows]


def release(session: Session, upload_id: str, writer: str) -> None:
    """Stop being the writer."""
    session.execute(
        update(Upload).where(Upload.id == upload_id, Upload.writer == writer).values(writer=None, writer_until=None)
    )


def finish(session: Session, upload_id: str, sha256: str) -> bool:
    """Mark as finished once; False when somebody did, or deleted it."""
    result = session.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.state == "receiving", Upload.offset == Upload.size)
        .values(state="finished", sha256=sha256, writer=None, writer_until=None)
        .returning(Upload.id)
    )
    return result.first() is not None


def converted_from(session: Session, project_id: str, sha256: str) -> Upload | None:
    """The upload that was made, or is being made, of a file of this project."""
    query = select(Upload).where(
        Upload.project_id == project_id,
        Upload.converted_from == sha256,
        Upload.state.in_(("converting", "finished")),
    )
    return session.scalar(query.order_by(Upload.created_at).limit(1))
