"""Bodies of uploads. The transfer itself speaks tus 1.0 (headers, no JSON)."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Sha256, Timestamp

UploadPurpose = Literal["dataset", "model", "image"]
UploadState = Literal["receiving", "converting", "finished", "failed", "expired"]


class UploadCreate(Request):
    """Reserves an upload. Size is checked against quota and disk before the first byte."""

    filename: str = Field(min_length=1, max_length=255)
    size: int = Field(ge=1, description="Bytes.")
    purpose: UploadPurpose


class Upload(Response):
    """A file on its way in; `offset` bytes are safe on disk. Continue with tus PATCH at `location`."""

    id: str
    project_id: str
    filename: str
    purpose: UploadPurpose
    size: int
    offset: int
    state: UploadState
    sha256: Sha256 | None = Field(description="Known once the upload is finished.")
    job_id: str | None = Field(description="The job that converts another upload into this one.")
    error: str | None = Field(description="Why the conversion failed.")
    converted_from: Sha256 | None = Field(description="Digest of the file that this one was converted from.")
    location: str = Field(description="Relative address for tus HEAD and PATCH.")
    created_at: Timestamp
    expires_at: Timestamp


class UploadStorage(Response):
    """What a project's uploads take, and how much more they may."""

    used_bytes: int = Field(description="Bytes that uploads hold or have reserved; expired ones do not count.")
    quota_bytes: int = Field(description="ORFILA_PROJECT_QUOTA_BYTES.")
    free_bytes: int = Field(description="Bytes that a new upload may have: quota, disk and largest upload together.")
