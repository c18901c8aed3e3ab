"""Map: lay the fingerprints of a case out in a plane."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from orfila.jobs.contracts import MapResult, MapSpec
from orfila_engine.layout import principal_layout, umap_layout
from orfila_worker.tasks.engines import index_of

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def draw_map(work: Work) -> MapResult:
    """Coordinates of every training image that the map shows."""
    spec = MapSpec.model_validate(work.spec)
    index = index_of(work, spec.index_id)
    table = pq.read_table(work.store.local_path(spec.scores), columns=["index", "suspect"]).sort_by("index")
    suspects = np.flatnonzero(table["suspect"].to_numpy(zero_copy_only=False))
    if spec.method == "pca":
        layout = principal_layout(index, suspects, work.progress)
    else:
        layout = umap_layout(index, suspects, spec.seed, work.progress)
    folder = work.folder / "map"
    folder.mkdir()
    np.save(folder / "points.npy", layout.points)
    if layout.coordinates is not None:
        np.save(folder / "coordinates.npy", layout.coordinates)
    (folder / "map.json").write_text(json.dumps({"method": spec.method, "explained": layout.explained}))
    return MapResult(files=work.store.put_tree(folder))
