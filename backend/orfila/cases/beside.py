"""Two cases side by side: which images both flag, how their scores agree, and what was asked differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from orfila import columns
from orfila.cases import findings, schemas
from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.errors import Conflict
from orfila.models.models import ClassifierModel
from orfila.storage import BlobStore

LISTED = 1_000
"""Images of each part, the most suspicious ones."""
_ASKED = ("engine", "rule", "n_queries", "suspects", "seed")


def manifest_of(session: Session, case: Case) -> str:
    """What numbers the images of a case: a cleansed version keeps its parent's, other data have others."""
    digest: str = session.get_one(Dataset, case.dataset_id).files["manifest.parquet"]
    return digest


def beside(session: Session, store: BlobStore, one: Case, other: Case) -> schemas.CasesBeside:
    """What two cases share. Raises Conflict while one of them has no finding, and for a case beside itself."""
    if one.id == other.id:
        raise Conflict("Choose another case: this one agrees with itself.", code="same_case")
    scores = [findings.scores(store, case) for case in (one, other)]
    differences = _differences(session, one, other)
    if manifest_of(session, one) != manifest_of(session, other):
        return schemas.CasesBeside(same_images=False, differences=differences)
    mine, theirs = (each.flags["flagged"] for each in scores)
    parts = {"both": mine & theirs, "first": mine & ~theirs, "second": theirs & ~mine}
    by = {"both": (0, 1), "first": (0,), "second": (1,)}
    listed = {
        name: _most_suspicious(np.flatnonzero(mask), [scores[k] for k in by[name]]) for name, mask in parts.items()
    }
    n = {name: int(mask.sum()) for name, mask in parts.items()}
    either = scores[0].flags["suspect"] & scores[1].flags["suspect"]
    return schemas.CasesBeside(
        same_images=True,
        differences=differences,
        n_both=n["both"],
        n_first=n["first"],
        n_second=n["second"],
        overlap=n["both"] / total if (total := sum(n.values())) else None,
        n_suspects_of_both=int(either.sum()),
        rank_correlation=_spearman(*(each.numbers["collapse_score"][either] for each in scores)),
        **{name: rows.tolist() for name, rows in listed.items()},
    )


def _most_suspicious(rows: NDArray[np.intp], scores: list[columns.Scores]) -> NDArray[np.intp]:
    """Rows by their mean collapse score in some cases, the highest first; at most LISTED."""
    mean = np.mean([each.numbers["collapse_score"][rows] for each in scores], axis=0)
    return rows[np.lexsort((rows, -mean))][:LISTED]


def _spearman(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """Spearman's rank correlation; None for fewer than three images, or where one side is all the same."""
    if len(a) < 3:
        return None
    ranks = [np.argsort(np.argsort(x, kind="stable"), kind="stable").astype(np.float64) for x in (a, b)]
    if any(np.ptp(x) == 0 for x in (a, b)):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _differences(session: Session, one: Case, other: Case) -> list[schemas.Difference]:
    """What was asked differently, and of what."""

    def told(case: Case) -> dict[str, str]:
        names = {
            "model": session.get_one(ClassifierModel, case.model_id).name,
            "data set": session.get_one(Dataset, case.dataset_id).name,
        }
        return names | {name.replace("n_queries", "transformed queries"): str(getattr(case, name)) for name in _ASKED}

    mine, theirs = told(one), told(other)
    same_model, same_data = one.model_id == other.model_id, one.dataset_id == other.dataset_id
    same = {"model": same_model, "data set": same_data}
    return [
        schemas.Difference(name=name, first=mine[name], second=theirs[name])
        for name in mine
        if not same.get(name, mine[name] == theirs[name])
    ]
