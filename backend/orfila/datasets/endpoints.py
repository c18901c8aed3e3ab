"""HTTP of data sets and their images."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response, StreamingResponse

from orfila.cases.schemas import ScoreColumns
from orfila.datasets import export, images, schemas, service
from orfila.errors import NotFound
from orfila.idempotency.service import once
from orfila.projects.schemas import Amendment
from orfila.schema_base import Page
from orfila.web import files
from orfila.web.dependencies import Cursor, IdempotencyKey, Limit, SessionDep, SettingsDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["datasets"])


@router.get("/projects/{project_id}/datasets")
def list_datasets(
    project_id: str, session: SessionDep, subject: SubjectDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[schemas.Dataset]:
    """A project's data sets, newest first."""
    return service.list_datasets(session, subject, project_id, cursor, limit)


@router.post("/projects/{project_id}/datasets", status_code=201)
def create_dataset(
    project_id: str,
    body: schemas.DatasetCreate,
    session: SessionDep,
    subject: SubjectDep,
    settings: SettingsDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Dataset:
    """Make a data set of a finished upload; a job reads it."""
    return once(
        session, subject, idempotency_key, f"create_dataset/{project_id}", body, schemas.Dataset,
        lambda: service.create(session, subject, settings, project_id, body),
    )  # fmt: skip


@router.get("/datasets/{dataset_id}")
def get_dataset(dataset_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Dataset:
    """One data set version."""
    return service.described(service.find(session, subject, dataset_id))


@router.patch("/datasets/{dataset_id}")
def update_dataset(dataset_id: str, body: Amendment, session: SessionDep, subject: SubjectDep) -> schemas.Dataset:
    """Rename a version, or preserve it as evidence so that it cannot be deleted."""
    return service.update(session, subject, dataset_id, body)


@router.delete("/datasets/{dataset_id}", status_code=204)
def delete_dataset(dataset_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Remove a data set that no model, case or version refers to."""
    service.delete(session, subject, dataset_id)


@router.get("/datasets/{dataset_id}/images")
def list_images(
    dataset_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    split: schemas.Split | None = None,
    label: int | None = None,
    q: str | None = None,
    note: bool | None = None,
    duplicate: schemas.Duplicate | None = None,
    width: int | None = None,
    height: int | None = None,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> Page[schemas.DatasetImage]:
    """Images by index. `q` is part of a name; `note` tells converted images from the others.

    `duplicate`: images whose original bytes another image has too (`any`), with another label (`other_label`).
    `width`, `height`: of the original file, pixels.
    """
    dataset = service.find_ready(session, subject, dataset_id)
    return images.page(
        store, dataset, split=split, label=label, q=q, note=note, duplicate=duplicate, width=width, height=height,
        cursor=cursor, limit=limit,
    )  # fmt: skip


@router.get("/datasets/{dataset_id}/columns")
def dataset_columns(dataset_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> ScoreColumns:
    """All images as columns: index, label int32; split (1 = test), converted, duplicate uint8; width, height uint16.

    duplicate: 1 where another image has the same original bytes, 2 where such a one has another label.
    """
    return images.as_columns(store, service.find_ready(session, subject, dataset_id))


@router.get("/datasets/{dataset_id}/images/{index}")
def get_image(
    dataset_id: str, index: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.DatasetImageDetail:
    """One image with its origin."""
    return images.detail(store, service.find_ready(session, subject, dataset_id), index)


@router.get(
    "/datasets/{dataset_id}/images/{index}/pixels.png", response_class=Response, responses=files.described("image/png")
)
def get_image_pixels(
    dataset_id: str, index: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> Response:
    """The pixels that the model sees."""
    return files.picture(images.pixels_png(store, service.find_ready(session, subject, dataset_id), index))


@router.get(
    "/datasets/{dataset_id}/images/{index}/original",
    response_class=Response,
    responses=files.described("application/octet-stream"),
)
def get_image_original(
    dataset_id: str, index: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> Response:
    """The original file, to save."""
    data, name = images.original(store, service.find_ready(session, subject, dataset_id), index)
    return files.download(data, name)


@router.get(
    "/datasets/{dataset_id}/atlases/{number}.webp",
    response_class=FileResponse,
    responses=files.described("image/webp"),
)
def get_atlas(dataset_id: str, number: int, session: SessionDep, subject: SubjectDep, store: StoreDep) -> FileResponse:
    """A lossless sheet of thumbnails; `Dataset.atlas` says how it is laid out."""
    dataset = service.find_ready(session, subject, dataset_id)
    sha256 = dataset.files.get(f"atlas-{number:04d}.webp")
    if sha256 is None:
        raise NotFound("The data set has no such sheet of thumbnails.")
    return FileResponse(store.local_path(sha256), media_type="image/webp", headers=files.IMMUTABLE)


@router.get("/datasets/{dataset_id}/thumbnails.webp", response_class=Response, responses=files.described("image/webp"))
def get_thumbnails(
    dataset_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    images_: Annotated[
        str,
        Query(
            alias="images",
            pattern=r"^[0-9]{1,9}(,[0-9]{1,9})*$",
            description=f"`index` of 1 to {images.MAX_THUMBNAILS} images, with commas between them.",
        ),
    ],
) -> Response:
    """A lossless sheet of the thumbnails of some images, row by row, 16 side by side; tiles as in `Dataset.atlas`.

    For images from all over a data set, whose atlases would be many.
    """
    dataset = service.find_ready(session, subject, dataset_id)
    indices = [int(index) for index in images_.split(",")]
    return files.picture(images.thumbnails(store, dataset, indices), "image/webp")


@router.get("/datasets/{dataset_id}/index.csv", response_class=Response, responses=files.described("text/csv"))
def download_index_list(dataset_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> Response:
    """index,name,label,split of this version's images."""
    dataset = service.find_ready(session, subject, dataset_id)
    return files.download(images.index_list(store, dataset), f"{dataset.name}.csv", "text/csv; charset=utf-8")


@router.get(
    "/datasets/{dataset_id}/archive.zip",
    response_class=StreamingResponse,
    responses=files.described("application/zip"),
)
def download_archive(
    dataset_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    contents: export.Contents = "originals",
) -> StreamingResponse:
    """This version's images as a zip of `train|test/CLASS/INDEX`, without what was removed; made while it is sent.

    `contents`: the original files, or the pixels that a model sees, as PNG.
    """
    dataset = service.find_ready(session, subject, dataset_id)
    return files.stream(export.zipped(store, dataset, contents), f"{dataset.name}.zip", "application/zip")
