"""Bodies of maps: fingerprints laid out in a plane."""

from typing import Literal

from pydantic import Field

from orfila.cases.schemas import Column
from orfila.schema_base import Request, Response, RunState, Timestamp

MapMethod = Literal["pca", "umap"]


class MapCreate(Request):
    """Lays the fingerprints of a case out."""

    method: MapMethod = Field(
        "pca",
        description="pca: the two directions in which the suspects' fingerprints differ most, all training images, in "
        "about a second. umap: neighbourhoods (McInnes 2018), the suspects alone, in seconds to minutes.",
    )


class FingerprintMap(Response):
    """A map, or the state of the job that makes it."""

    id: str
    case_id: str
    method: MapMethod
    state: RunState
    error: str | None
    job_id: str | None
    created_by: str
    created_at: Timestamp


class MapColumns(Response):
    """Coordinates of every training image, in the order of the scores."""

    n: int
    x: Column = Field(description="float32; not a number for images that the map does not show.")
    y: Column
    shown: int = Field(description="Images with coordinates.")
    explained: list[float] | None = Field(
        description="Of pca: the share of the suspects' variance along x and along y; null for other methods."
    )


class Neighbour(Response):
    """A suspect whose fingerprint lies near to another one's: it pulls the model the same way."""

    index: int
    distance: float = Field(
        description="Of the unit fingerprints, along the main axes of the suspects (at most 32): 0 for the same "
        "gradient, 1.41 for two that have nothing to do with each other."
    )


class Nearest(Response):
    """The suspects nearest to a training image."""

    is_suspect: bool = Field(description="Only suspects have neighbours; the list is empty for others.")
    items: list[Neighbour] = Field(description="The nearest one first.")
