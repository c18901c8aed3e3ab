"""The images of a data set version, read from its pack. A cleansed version shows the images that were kept."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orfila import columns, pictures
from orfila.cases.schemas import Column, ScoreColumns
from orfila.datasets import schemas
from orfila.datasets.models import Dataset
from orfila.errors import NotFound, Unprocessable
from orfila.pagination import decode_cursor, encode_cursor
from orfila.schema_base import Page
from orfila.storage import BlobStore

MAX_TWINS = 50
MAX_THUMBNAILS = 256
THUMBNAIL_COLUMNS = 16


def manifest_of(store: BlobStore, dataset: Dataset) -> columns.Manifest:
    """The manifest of the pack."""
    return columns.manifest(store, dataset.files["manifest.parquet"])


def pixels_of(store: BlobStore, dataset: Dataset) -> NDArray[np.uint8]:
    """All pixels, uint8 [N, H, W, C], memory-mapped."""
    return columns.array(store, dataset.files["pixels.npy"])


def kept(store: BlobStore, dataset: Dataset) -> NDArray[np.bool_]:
    """[N] whether the image belongs to this version."""
    mask = np.ones(len(manifest_of(store, dataset)), dtype=bool)
    if dataset.removed is not None:
        mask[columns.array(store, dataset.removed)] = False
    return mask


def page(
    store: BlobStore,
    dataset: Dataset,
    *,
    split: schemas.Split | None,
    label: int | None,
    q: str | None,
    note: bool | None,
    duplicate: schemas.Duplicate | None,
    width: int | None,
    height: int | None,
    cursor: str | None,
    limit: int,
) -> Page[schemas.DatasetImage]:
    """Images that match, by index. q: part of the name. note: whether something was converted.

    duplicate: only images whose bytes another image has too; of those, only where it has another label.
    width, height: of the original file, pixels.
    """
    manifest = manifest_of(store, dataset)
    mask = kept(store, dataset)
    if split is not None:
        mask &= manifest.is_test == (split == "test")
    if label is not None:
        mask &= manifest.labels == label
    if note is not None:
        mask &= manifest.has_note == note
    if duplicate is not None:
        mask &= manifest.duplicates(kept(store, dataset)) >= (2 if duplicate == "other_label" else 1)
    if width is not None:
        mask &= manifest.width == width
    if height is not None:
        mask &= manifest.height == height
    if q:
        mask &= manifest.name_contains(q)
    total = int(mask.sum())
    if cursor is not None:
        mask[: max(0, decode_cursor(cursor, (int,))[0] + 1)] = False
    hits = np.flatnonzero(mask)
    items = [_item(row) for row in manifest.rows(hits[:limit])]
    return Page(items=items, next_cursor=encode_cursor([items[-1].index]) if len(hits) > limit else None, total=total)


def detail(store: BlobStore, dataset: Dataset, index: int) -> schemas.DatasetImageDetail:
    """One image with its origin."""
    row = _row(store, dataset, index)
    return schemas.DatasetImageDetail(
        **_item(row).model_dump(),
        label_name=dataset.classes[row["label"]],
        sha256=row["sha256"],
        mode=row["mode"],
        original_bytes=row["length"],
        has_original=row["length"] > 0,
        twins=_twins(store, dataset, index),
    )


def pixels_png(store: BlobStore, dataset: Dataset, index: int) -> bytes:
    """The pixels that the model sees, as PNG."""
    _row(store, dataset, index)
    return pictures.png(pixels_of(store, dataset)[index])


def thumbnails(store: BlobStore, dataset: Dataset, indices: Sequence[int]) -> bytes:
    """Thumbnails of some images in their order, THUMBNAIL_COLUMNS side by side, as WebP.

    Removed ones too, as in the atlases: they are still shown where versions are compared.
    """
    if dataset.atlas is None:
        raise NotFound("This data set has no thumbnails.")
    if len(indices) > MAX_THUMBNAILS:
        raise Unprocessable(f"{len(indices):,} images are asked for; ask for {MAX_THUMBNAILS} at a time.")
    pixels = pixels_of(store, dataset)
    _must_be_there(len(pixels), max(indices))
    return pictures.sheet([pixels[index] for index in indices], dataset.atlas["tile"], THUMBNAIL_COLUMNS)


def original(store: BlobStore, dataset: Dataset, index: int) -> tuple[bytes, str]:
    """The original file's bytes, and its plain name. Raises NotFound when they were not kept."""
    row = _row(store, dataset, index)
    if row["length"] == 0 or "originals.bin" not in dataset.files:
        raise NotFound("The original file of this image was not kept; its pixels are at pixels.png.")
    with store.open(dataset.files["originals.bin"]) as file:
        file.seek(row["offset"])
        return file.read(row["length"]), PurePosixPath(row["name"]).name


def as_columns(store: BlobStore, dataset: Dataset) -> ScoreColumns:
    """index, label, split (1 = test), converted (1 = has a note), duplicate (`Manifest.duplicates`), width, height."""
    manifest = manifest_of(store, dataset)
    mask = kept(store, dataset)
    rows = np.flatnonzero(mask)
    return ScoreColumns(
        n=len(rows),
        columns={
            "index": column(rows.astype(np.int32)),
            "label": column(manifest.labels[rows]),
            "split": column(manifest.is_test[rows]),
            "converted": column(manifest.has_note[rows]),
            "duplicate": column(manifest.duplicates(mask)[rows]),
            "width": column(manifest.width[rows]),
            "height": column(manifest.height[rows]),
        },
    )


def column(values: NDArray[Any]) -> Column:
    """A typed array as base64 of little-endian values; booleans become uint8."""
    if values.dtype == np.uint16:
        return Column(dtype="uint16", data=base64.b64encode(values.astype("<u2").tobytes()).decode())
    if values.dtype.kind in "bu":
        return Column(dtype="uint8", data=base64.b64encode(values.astype("u1").tobytes()).decode())
    if values.dtype.kind == "f":
        return Column(dtype="float32", data=base64.b64encode(values.astype("<f4").tobytes()).decode())
    return Column(dtype="int32", data=base64.b64encode(values.astype("<i4").tobytes()).decode())


def _twins(store: BlobStore, dataset: Dataset, index: int) -> list[int]:
    manifest = manifest_of(store, dataset)
    same = np.flatnonzero((manifest.content == manifest.content[index]) & kept(store, dataset))
    twins: list[int] = same[same != index][:MAX_TWINS].tolist()
    return twins


def index_list(store: BlobStore, dataset: Dataset) -> str:
    """CSV index,name,label,split of this version's images; label is the class name."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("index", "name", "label", "split"))
    for row in manifest_of(store, dataset).rows(np.flatnonzero(kept(store, dataset))):
        writer.writerow((row["index"], row["name"], dataset.classes[row["label"]], row["split"]))
    return out.getvalue()


def _row(store: BlobStore, dataset: Dataset, index: int) -> dict[str, Any]:
    mask = kept(store, dataset)
    _must_be_there(len(mask), index)
    if not mask[index]:
        raise NotFound("This image was removed in this version; see the parent data set.")
    return manifest_of(store, dataset).row(index)


def _must_be_there(n: int, index: int) -> None:
    if not 0 <= index < n:
        raise NotFound(f"The data set has the images 0 to {n - 1:,}.")


def _item(row: dict[str, Any]) -> schemas.DatasetImage:
    return schemas.DatasetImage(**{name: row[name] for name in schemas.DatasetImage.model_fields})
