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
