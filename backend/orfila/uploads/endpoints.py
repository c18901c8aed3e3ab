"""HTTP of uploads: tus 1.0, a JSON way to create, and a plain POST for curl.

Of tus: core, creation, creation-with-upload, checksum, expiration, termination.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.routing import APIRoute

from orfila.db import Database
from orfila.errors import BadRequest, PreconditionFailed, UnsupportedContent
from orfila.identity.subject import Subject
from orfila.schema_base import Page
from orfila.settings import Settings
from orfila.uploads import conversion, schemas, service, transfer
from orfila.uploads.models import Upload
from orfila.web.dependencies import Cursor, DatabaseDep, Limit, SessionDep, SettingsDep, StoreDep, SubjectDep

TUS_VERSION = "1.0.0"
TUS_EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
_ORIGINAL = "orfila.original_request"
"""Where a creation keeps the request that it was, whose body may be the first bytes of the file."""
_OFFSET_BODY = "application/offset+octet-stream"


class TusCreationRoute(APIRoute):
    """Reads tus creation headers (Upload-Length, Upload-Metadata) as if they had been sent as the JSON body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given a request whose body is JSON."""
        handle = super().get_route_handler()

        async def with_body(request: Request) -> Response:
            if "upload-length" in request.headers:
                body = json.dumps(_creation_of(request)).encode()
                headers = [(k, v) for k, v in request.scope["headers"] if k != b"content-type"]
                headers.append((b"content-type", b"application/json"))
                request = Request(dict(request.scope) | {"headers": headers, _ORIGINAL: request}, request.receive)
                request._body = body  # where Starlette keeps a body that has been read
            return await handle(request)

        return with_body


def _creation_of(request: Request) -> dict[str, Any]:
    """`UploadCreate` as tus headers say it: Upload-Metadata holds filename and purpose, base64."""
    if request.headers.get("upload-defer-length") is not None:
        raise BadRequest("Send Upload-Length: an upload of unknown length is not accepted.")
    metadata: dict[str, str] = {}
    for pair in filter(None, (p.strip() for p in request.headers.get("upload-metadata", "").split(","))):
        name, _, value = pair.partition(" ")
        try:
            metadata[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise BadRequest(f"The value of '{name[:40]}' in Upload-Metadata is not base64 of UTF-8.") from error
    try:
        size = int(request.headers["upload-length"])
    except ValueError as error:
        raise BadRequest("Upload-Length must be a whole number of bytes.") from error
    return {"filename": metadata.get("filename", "upload"), "purpose": metadata.get("purpose"), "size": size}


def _tus(request: Request) -> None:
    """Refuse another version of tus; requests without the header are let through, for curl."""
    if request.headers.get("tus-resumable", TUS_VERSION) != TUS_VERSION:
        raise PreconditionFailed(f"This server speaks tus {TUS_VERSION}.", code="tus_version")


router = APIRouter(prefix="/api/v1", tags=["uploads"], dependencies=[Depends(_tus)])
creation = APIRouter(route_class=TusCreationRoute, tags=["uploads"])


def _headers(upload: Upload) -> dict[str, str]:
    return {
        "Tus-Resumable": TUS_VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.size),
        "Upload-Expires": upload.expires_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Cache-Control": "no-store",
    }


@router.options("/projects/{project_id}/uploads", status_code=204)
def tus_capabilities(project_id: str, response: Response, subject: SubjectDep, settings: SettingsDep) -> None:
    """What of tus this server speaks."""
    response.headers.update(
        {
            "Tus-Resumable": TUS_VERSION,
            "Tus-Version": TUS_VERSION,
            "Tus-Extension": TUS_EXTENSIONS,
            "Tus-Checksum-Algorithm": ",".join(transfer.CHECKSUMS),
            "Tus-Max-Size": str(settings.max_upload_bytes),
        }
    )


@router.get("/projects/{project_id}/uploads")
def list_uploads(
    project_id: str, session: SessionDep, subject: SubjectDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[schemas.Upload]:
    """A project's uploads, newest first, expired ones included."""
    return service.list_uploads(session, subject, project_id, cursor, limit)


@router.get("/projects/{project_id}/uploads/storage")
def upload_storage(
    project_id: str, session: SessionDep, subject: SubjectDep, settings: SettingsDep
) -> schemas.UploadStorage:
    """What the project's uploads take, and how much more they may."""
    return service.storage(session, subject, settings, project_id)


@creation.post("/projects/{project_id}/uploads", status_code=201)
async def create_upload(
    project_id: str,
    body: schemas.UploadCreate,
    request: Request,
    response: Response,
    database: DatabaseDep,
    subject: SubjectDep,
    settings: SettingsDep,
) -> schemas.Upload:
    """Reserve an upload; go on with PATCH at `location`. Takes this JSON, or the headers of tus creation.

    With those headers the body may hold the first bytes of the file (creation-with-upload).
    """
    upload = await to_thread.run_sync(_created, database, settings, subject, project_id, body)
    original: Request | None = request.scope.get(_ORIGINAL)
    if original is not None and original.headers.get("content-type") == _OFFSET_BODY:
        given = original.headers.get("upload-checksum")
        checksum = transfer.Checksum.parse(given) if given else None
        await transfer.append(database, settings, subject, upload.id, 0, checksum, original.stream())
        upload = await to_thread.run_sync(_found, database, subject, upload.id)
    response.headers.update({**_headers(upload), "Location": service.location(upload.id)})
    return service.described(upload)


def _created(
    database: Database, settings: Settings, subject: Subject, project_id: str, body: schemas.UploadCreate
) -> Upload:
    with database.transaction() as session:
        return service.create(session, subject, settings, project_id, body)


def _found(database: Database, subject: Subject, upload_id: str) -> Upload:
    with database.reading() as session:
        return service.find(session, subject, upload_id)


@router.post(
    "/projects/{project_id}/uploads/file",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_file(
    project_id: str,
    filename: Annotated[str, Query(min_length=1, max_length=255)],
    purpose: schemas.UploadPurpose,
    request: Request,
    response: Response,
    database: DatabaseDep,
    subject: SubjectDep,
    settings: SettingsDep,
) -> schemas.Upload:
    """Upload a file in one request: `curl --data-binary @data.zip`. If it breaks off, nothing is kept."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) < 1:
        raise BadRequest("Send the file as the body, with Content-Length.", code="length_required")

    body = schemas.UploadCreate(filename=filename, size=int(length), purpose=purpose)
    upload = await to_thread.run_sync(_created, database, settings, subject, project_id, body)
    try:
        await transfer.append(database, settings, subject, upload.id, 0, None, request.stream())
    except BaseException:
        await to_thread.run_sync(service.drop, database, settings, upload.id)
        raise

    response.headers["Location"] = service.location(upload.id)
    return service.described(await to_thread.run_sync(_found, database, subject, upload.id))


@router.get("/uploads/{upload_id}")
def get_upload(upload_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Upload:
    """How far an upload is."""
    return service.described(service.find(session, subject, upload_id))


@router.head("/uploads/{upload_id}", status_code=200)
def upload_offset(
    upload_id: str,
    response: Response,
    database: DatabaseDep,
    subject: SubjectDep,
    settings: SettingsDep,
) -> None:
    """The offset to go on from, in the header Upload-Offset (tus); 423 while another request still moves it."""
    with database.reading() as session:
        upload = service.find(session, subject, upload_id)
    if upload.state == "receiving":
        # Whoever asks wants to send: sending now would be refused, and the bytes would have travelled for nothing.
        service.require_unlocked(upload)
    if upload.state == "receiving" and upload.offset == upload.size:
        # All bytes were committed, and the process died before the file was stored: do that now.
        service.complete(database, settings, upload_id, subject.name)
    response.headers.update(_headers(upload))


@router.patch(
    "/uploads/{upload_id}",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_OFFSET_BODY: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def append_upload(
    upload_id: str,
    upload_offset: Annotated[int, Header(alias="Upload-Offset", ge=0)],
    request: Request,
    response: Response,
    database: DatabaseDep,
    subject: SubjectDep,
    settings: SettingsDep,
    upload_checksum: Annotated[str | None, Header(alias="Upload-Checksum", max_length=256)] = None,
) -> None:
    """Send bytes from an offset on (tus). The last byte finishes the upload."""
    if request.headers.get("content-type") != _OFFSET_BODY:
        raise UnsupportedContent(f"Send the bytes as {_OFFSET_BODY}.", code="tus_content_type")
    checksum = transfer.Checksum.parse(upload_checksum) if upload_checksum else None
    offset = await transfer.append(database, settings, subject, upload_id, upload_offset, checksum, request.stream())
    response.headers.update({"Tus-Resumable": TUS_VERSION, "Upload-Offset": str(offset)})


@router.post("/uploads/{upload_id}/conversion", status_code=201)
def convert_upload(
    upload_id: str, session: SessionDep, subject: SubjectDep, settings: SettingsDep, store: StoreDep
) -> schemas.Upload:
    """Convert a PyTorch file (a state dict in a zip of torch.save) into a new upload, in a sandbox. Off by default."""
    return conversion.convert(session, subject, settings, store, upload_id)


@router.delete("/uploads/{upload_id}", status_code=204)
def delete_upload(
    upload_id: str, response: Response, session: SessionDep, subject: SubjectDep, settings: SettingsDep
) -> None:
    """Give an upload up (tus termination). What was made of a finished one stays."""
    service.delete(session, subject, settings, upload_id)
    response.headers["Tus-Resumable"] = TUS_VERSION


router.include_router(creation)
