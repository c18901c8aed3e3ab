"""Bodies of data sets and their images."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from orfila.schema_base import Request, Response, Sha256, Timestamp

DatasetState = Literal["ingesting", "ready", "failed"]
Split = Literal["train", "test"]
Duplicate = Literal["any", "other_label"]

MAX_EDGE = 1024
"""As the engine has it; a test keeps the two equal."""
MAX_RENAMED = 100_000
CifarLabels = Literal["fine", "coarse"]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class ImageSize(Request):
    """Pixels."""

    width: int = Field(ge=4, le=MAX_EDGE)
    height: int = Field(ge=4, le=MAX_EDGE)


class DatasetCreate(Request):
    """Makes a data set of a finished upload: class folders in a zip or tar, NPZ, Parquet, IDX or binary CIFAR."""

    upload_id: str
    name: str = Field(min_length=1, max_length=120)
    on_broken: Literal["refuse", "skip"] = Field(
        "refuse", description="What to do with images that cannot be decoded: refuse the data set, or leave them out."
    )
    split_seed: int = Field(
        0, ge=0, lt=2**31, description="Seed of the 10 % test split where the archive has no test folder."
    )
    size: ImageSize | None = Field(
        None, description="Resize all images to this; null takes the most frequent size. The intake report counts them."
    )
    labels: CifarLabels | None = Field(
        None, description="CIFAR-100 (binary version) has 100 fine and 20 coarse classes; null takes the fine ones."
    )
    class_names: dict[ClassName, ClassName] | None = Field(
        None,
        max_length=MAX_RENAMED,
        description="Other names for classes, by the folder or label that they have in the archive. Two classes with "
        "one name become one. A file `classes.txt` beside the folders does the same and gives the order of labels.",
    )


class SkippedImage(Response):
    """An image that was left out, and why."""

    name: str
    reason: str


class IntakeReport(Response):
    """What ingest did to the files."""

    split: Literal["given", "seeded"]
    converted: dict[str, int] = Field(description="Conversion -> number of images, e.g. `resized`: 12.")
    examples: dict[str, int] = Field(
        default_factory=dict, description="Conversion, or `duplicate` -> `index` of the first image of that kind."
    )
    skipped: list[SkippedImage]
    n_skipped: int
    n_duplicates: int = Field(description="Images whose original bytes equal an earlier image's.")
    seconds: float


class Atlas(Response):
    """How thumbnails are laid out: image i is tile i % (columns * rows) of atlas i // (columns * rows), row-major."""

    tile: int = Field(description="Edge of a tile, pixels.")
    columns: int
    rows: int
    count: int = Field(description="Number of atlases.")


class Dataset(Response):
    """An immutable data set version."""

    id: str
    project_id: str
    name: str
    state: DatasetState
    error: str | None
    job_id: str | None
    created_at: Timestamp
    sha256: Sha256 | None = Field(description="Digest of the uploaded archive.")
    digest: Sha256 | None = Field(description="Digest of the content: classes, labels, splits, image bytes.")
    classes: list[str]
    height: int | None
    width: int | None
    channels: int | None
    n_train: int
    n_test: int
    counts: dict[Split, list[int]] = Field(description="Images per class.")
    intake: IntakeReport | None
    atlas: Atlas | None
    parent_id: str | None = Field(description="The version that this one was cleansed from.")
    n_removed: int | None
    preserved: bool = Field(False, description="Kept as evidence: it cannot be deleted until that is lifted.")
    drill_id: str | None = Field(description="The drill that made this version, if one did.")


class DatasetImage(Response):
    """One image of a data set, as the grid shows it."""

    index: int
    name: str
    split: Split
    label: int
    width: int = Field(description="Of the original file.")
    height: int
    note: str = Field(description="Conversion applied at ingest; empty if none.")


class DatasetImageDetail(DatasetImage):
    """One image with its origin."""

    label_name: str
    sha256: Sha256
    mode: str = Field(description="Colour mode of the original file, e.g. RGB, L, P.")
    original_bytes: int
    has_original: bool
    twins: list[int] = Field(description="`index` of other images whose original bytes are the same, 50 at most.")
