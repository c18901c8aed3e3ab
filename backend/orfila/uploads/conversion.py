"""PyTorch files, where ORFILA_CONVERT_TORCH_FILES allows them: a job makes safetensors of one, in a sandbox."""

from __future__ import annotations

from pathlib import PurePath

from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.errors import Forbidden, Unprocessable
from orfila.events import publish
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import ConversionResult, ConversionSpec
from orfila.settings import Settings
from orfila.storage import BlobStore, sniff
from orfila.uploads import repository, schemas, service
from orfila.uploads.models import Upload

SUFFIX = ".safetensors"


def convert(session: Session, subject: Subject, settings: Settings, store: BlobStore, upload_id: str) -> schemas.Upload:
    """An upload that a job makes of a finished one; asked again, the same one. Wait for it as for one that is sent.

    Raises Forbidden where conversion is switched off, Unprocessable for what is no PyTorch file.
    """
    source = service.find(session, subject, upload_id, "write")
    if not settings.convert_torch_files:
        raise Forbidden(f"PyTorch files are not converted on this server. {sniff.HOW_TO_EXPORT}", code="conversion_off")
    source = service.finished(session, subject, source.project_id, upload_id, "model")
    assert source.sha256 is not None, "finished uploads have a digest"
    if not is_torch_file(store, source):
        raise Unprocessable("This upload is no PyTorch file; use it as it is.", code="not_a_torch_file")
    made_before = repository.converted_from(session, source.project_id, source.sha256)
    if made_before is not None:
        return service.described(made_before)
    name = PurePath(source.filename).stem + SUFFIX
    body = schemas.UploadCreate(filename=name, size=source.size, purpose="model")
    made = service.create(session, subject, settings, source.project_id, body)
    made.state, made.converted_from = "converting", source.sha256
    job = jobs.submit(
        session,
        kind="conversion",
        project_id=made.project_id,
        subject_kind="upload",
        subject_id=made.id,
        subject_name=made.filename,
        spec=ConversionSpec(upload_id=made.id, weights=source.sha256, size=source.size),
        created_by=subject.user_id,
    )
    made.job_id = job.id
    detail = {"filename": made.filename, "from": source.sha256}
    record(session, subject.name, "upload.converting", "upload", made.id, made.project_id, detail)
    _tell(session, made)
    return service.described(made)


def is_torch_file(store: BlobStore, upload: Upload) -> bool:
    """Whether a finished upload waits to be converted."""
    if upload.purpose != "model" or upload.sha256 is None:
        return False
    with store.open(upload.sha256) as file:
        return sniff.is_torch_file(file.read(sniff.HEAD_BYTES))


def require_converted(store: BlobStore, upload: Upload) -> None:
    """Refuse a PyTorch file. Raises Unprocessable with what to do."""
    if is_torch_file(store, upload):
        raise Unprocessable(
            f"This is a PyTorch file: convert it first (POST /api/v1/uploads/{upload.id}/conversion), and use the "
            "upload that this makes.",
            code="torch_file",
        )


def converted(session: Session, upload: Upload, result: ConversionResult) -> None:
    """The tensors were read."""
    upload.state, upload.error = "finished", None
    upload.sha256, upload.size, upload.offset = result.weights, result.size, result.size
    detail = {"filename": upload.filename, "sha256": upload.sha256, "from": upload.converted_from}
    record(session, "worker", "upload.converted", "upload", upload.id, upload.project_id, detail)
    _tell(session, upload)


def failed(session: Session, upload: Upload, sentence: str) -> None:
    """The file is not what it seems, or its reader was stopped."""
    upload.state, upload.error = "failed", sentence
    _tell(session, upload)


def retried(session: Session, upload: Upload) -> None:
    """Its job runs again."""
    upload.state, upload.error = "converting", None
    _tell(session, upload)


def _tell(session: Session, upload: Upload) -> None:
    publish(session, "upload", {"kind": "upload", "id": upload.id, "state": upload.state}, upload.project_id)
