"""Rules of uploads: reserving space, finishing, deleting, expiring. The transfer itself is in `transfer`."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

from sqlalchemy.orm import Session

from orfila import crash
from orfila.audit.service import record
from orfila.db import Database, now
from orfila.errors import Conflict, Locked, NoSpace, NotFound, TooLarge, Unprocessable, UnsupportedContent
from orfila.events import publish
from orfila.identity.subject import Subject
from orfila.projects.access import Permission, require, require_of
from orfila.projects.listing import page_of
from orfila.schema_base import Page
from orfila.settings import Settings
from orfila.storage import get_partial_files, sniff
from orfila.uploads import digests, repository, schemas
from orfila.uploads.models import Upload


def create(
    session: Session, subject: Subject, settings: Settings, project_id: str, body: schemas.UploadCreate
) -> Upload:
    """Reserve an upload. Raises TooLarge (limit, quota) or NoSpace before the first byte is sent."""
    require(session, subject, project_id, "write")
    expire(session, settings)
    if body.size > settings.max_upload_bytes:
        raise TooLarge(
            f"The file has {body.size:,} bytes; at most {settings.max_upload_bytes:,} are accepted "
            "(ORFILA_MAX_UPLOAD_BYTES)."
        )
    left = _quota_left(session, settings, project_id)
    if body.size > left:
        raise TooLarge(
            f"The file has {body.size:,} bytes and this project's quota has {left:,} left; delete uploads or "
            "raise ORFILA_PROJECT_QUOTA_BYTES.",
            code="quota_exceeded",
        )
    free = _disk_left(session, settings)
    if body.size > free:
        raise NoSpace(
            f"The file has {body.size:,} bytes and the disk has room for {free:,}; free some space and try again."
        )
    upload = Upload(
        project_id=project_id,
        owner_id=subject.user_id,
        filename=_plain_name(body.filename),
        purpose=body.purpose,
        size=body.size,
        offset=0,
        state="receiving",
        expires_at=now() + timedelta(hours=settings.upload_expiry_hours),
    )
    session.add(upload)
    session.flush()
    return upload


def list_uploads(
    session: Session, subject: Subject, project_id: str, cursor: str | None, limit: int
) -> Page[schemas.Upload]:
    """A page of a project's uploads, newest first."""
    return page_of(session, subject, Upload, project_id, described, cursor, limit)


def storage(session: Session, subject: Subject, settings: Settings, project_id: str) -> schemas.UploadStorage:
    """What a project's uploads take, and how much more they may."""
    require(session, subject, project_id, "read")
    left, free = _quota_left(session, settings, project_id), _disk_left(session, settings)
    return schemas.UploadStorage(
        used_bytes=repository.reserved_bytes(session, project_id),
        quota_bytes=settings.project_quota_bytes,
        free_bytes=min(left, free, settings.max_upload_bytes),
    )


def find(session: Session, subject: Subject, upload_id: str, permission: Permission = "read") -> Upload:
    """An upload that the subject may see; an expired one is gone."""
    upload = session.get(Upload, upload_id)
    require_of(session, subject, upload.project_id if upload else None, permission, "upload")
    assert upload is not None, "require_of raises for an absent object"
    if upload.state == "expired":
        raise NotFound("This upload expired before it was finished; start it again.", code="upload_expired")
    return upload


def require_unlocked(upload: Upload) -> None:
    """Refuse what must wait while another request sends this upload. Raises Locked."""
    if upload.writer is not None and upload.writer_until is not None and upload.writer_until > now():
        raise Locked("Another request is sending this upload; try again in some seconds.", code="upload_locked")


def finished(
    session: Session, subject: Subject, project_id: str, upload_id: str, purpose: schemas.UploadPurpose
) -> Upload:
    """A finished upload of this project and purpose, to make something of. Raises Unprocessable with what to do."""
    upload = find(session, subject, upload_id)
    if upload.project_id != project_id:
        raise NotFound("There is no such upload in this project.")
    if upload.state in ("converting", "failed"):
        what = f"could not be converted: {upload.error}" if upload.error else "is still being converted; wait for it."
        raise Unprocessable(f"The upload {what}", code="upload_unconverted")
    if upload.state != "finished" or upload.sha256 is None:
        raise Unprocessable(
            f"The upload has {upload.offset:,} of {upload.size:,} bytes; finish it first.", code="upload_unfinished"
        )
    if upload.purpose != purpose:
        raise Unprocessable(f"The upload was made as {upload.purpose}, not as {purpose}; upload it again as {purpose}.")
    return upload


def complete(database: Database, settings: Settings, upload_id: str, actor: str) -> None:
    """Turn a wholly received upload into a blob. May be repeated after a crash at any point.

    Raises UnsupportedContent, and drops the upload, when the file is not of a kind that its purpose accepts.
    """
    with database.reading() as session:
        upload, segments = session.get(Upload, upload_id), repository.segments(session, upload_id)
    if upload is None or upload.state != "receiving" or upload.offset != upload.size:
        return
    files = get_partial_files(settings)
    try:
        head = files.head(upload_id, upload.part, segments, sniff.HEAD_BYTES)
        sniff.check(head, upload.size, upload.purpose, torch_files=settings.convert_torch_files)
        running = digests.recall(upload_id, upload.size)
        sha256 = files.keep(upload_id, upload.part, segments, None if running is None else running.hexdigest())
    except UnsupportedContent:
        drop(database, settings, upload_id)
        raise
    except FileNotFoundError:
        with database.reading() as session:
            now_there = session.get(Upload, upload_id)
        if now_there is not None and now_there.state == "receiving":
            raise
        return  # another request was first, and has cleared up
    crash.point("upload.stored")
    with database.transaction() as session:
        if repository.finish(session, upload_id, sha256):
            detail = {"filename": upload.filename, "bytes": upload.size, "sha256": sha256, "purpose": upload.purpose}
            record(session, actor, "upload.finished", "upload", upload_id, upload.project_id, detail)
            publish(session, "upload", {"kind": "upload", "id": upload_id, "state": "finished"}, upload.project_id)
    crash.point("upload.finished")
    digests.forget(upload_id)
    files.discard(upload_id)


def delete(session: Session, subject: Subject, settings: Settings, upload_id: str) -> None:
    """Give an upload up. What was made of a finished one stays."""
    upload = find(session, subject, upload_id, "write")
    if upload.state == "converting":
        raise Conflict("A job is converting it; wait for it, or cancel it first.", code="upload_converting")
    get_partial_files(settings).discard(upload.id)
    record(
        session, subject.name, "upload.deleted", "upload", upload.id, upload.project_id, {"filename": upload.filename}
    )
    session.delete(upload)


def drop(database: Database, settings: Settings, upload_id: str) -> None:
    """Remove a refused upload with its bytes."""
    with database.transaction() as session:
        upload = session.get(Upload, upload_id)
        if upload is not None:
            get_partial_files(settings).discard(upload.id)
            session.delete(upload)


def expire(session: Session, settings: Settings) -> int:
    """Remove the bytes of unfinished uploads whose time is over; the number of them."""
    uploads = repository.expired(session, now())
    for upload in uploads:
        upload.state = "expired"
        get_partial_files(settings).discard(upload.id)
    return len(uploads)


def described(upload: Upload) -> schemas.Upload:
    """An upload as clients see it."""
    return schemas.Upload.model_validate(
        {name: getattr(upload, name) for name in schemas.Upload.model_fields if name != "location"}
        | {"location": location(upload.id)}
    )


def location(upload_id: str) -> str:
    """The address of the transfer: relative, so that it is right behind any proxy."""
    return f"/api/v1/uploads/{upload_id}"


def _quota_left(session: Session, settings: Settings, project_id: str) -> int:
    return max(settings.project_quota_bytes - repository.reserved_bytes(session, project_id), 0)


def _disk_left(session: Session, settings: Settings) -> int:
    free = get_partial_files(settings).free_bytes()
    if free is None:
        return settings.max_upload_bytes
    return max(free - repository.bytes_to_come(session) - settings.min_free_bytes, 0)


def _plain_name(filename: str) -> str:
    """The last part of a file name without control and direction characters: it is shown, never used as a path."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return kept[:255] or "upload"
