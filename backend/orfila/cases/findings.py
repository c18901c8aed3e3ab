"""The files of a finished investigation: scores, shifts, queries. Raises Conflict while there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orfila import columns
from orfila.cases.models import Case
from orfila.errors import Conflict
from orfila.storage import BlobStore


def file_of(case: Case, name: str) -> str:
    """Digest of one of the investigation's files."""
    if case.finding is None or name not in case.files:
        why = f"failed: {case.error}" if case.state == "failed" else "is still being scored; wait for its job"
        raise Conflict(f"The case {why}", code="case_not_scored")
    digest: str = case.files[name]
    return digest


def scores(store: BlobStore, case: Case) -> columns.Scores:
    """Every training image's scores."""
    return columns.scores(store, file_of(case, "scores.parquet"))


def shifts(store: BlobStore, case: Case) -> NDArray[np.float16]:
    """Influence shifts [A, n_train, n_b] of A affected images."""
    array = columns.array(store, file_of(case, "shifts.npy"))
    return array[None] if array.ndim == 2 else array


def removal_effects(store: BlobStore, case: Case) -> NDArray[np.float32]:
    """First-order change of each affected image's margin [A, n_train] when one training image is removed; they add."""
    return columns.array(store, file_of(case, "removal.npy"))


def removal_curves(store: BlobStore, case: Case) -> NDArray[np.float32]:
    """[A, 2, P] for each affected image: summed first-order changes, falling, and the margin to expect with each."""
    return columns.array(store, file_of(case, "removal_curve.npy"))


def query_images(store: BlobStore, case: Case) -> NDArray[np.uint8]:
    """Pictures [A, 1 + n_b, H, W, C]; picture 0 is the affected image itself."""
    array = columns.array(store, file_of(case, "query_images.npy"))
    return array[None] if array.ndim == 4 else array


@dataclass(frozen=True)
class Query:
    """A transformed query: what was done to the affected image, and the random label that it got."""

    transform: str
    label: int


def queries(store: BlobStore, case: Case) -> list[list[Query]]:
    """For each affected image its n_b queries."""
    content: Any = columns.json_file(store, file_of(case, "queries.json"))
    return [
        # The engine's first query is the affected image as it is; it has no shift.
        [Query(q["transform"], int(q["label"])) for q in affected["queries"] if q["transform"] != "none"]
        for affected in content
    ]
