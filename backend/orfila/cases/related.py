"""Related cases: those in which the same training images are flagged."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import columns
from orfila.cases import findings, schemas
from orfila.cases.beside import manifest_of
from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.storage import BlobStore

LOOKED_AT = 200
"""Cases, the newest ones of the project."""


def related(session: Session, store: BlobStore, case: Case) -> list[schemas.RelatedCase]:
    """Cases of the same images that share flagged ones with this one, those that share the most first.

    Raises Conflict while the case has no finding.
    """
    mine = columns.flagged_indices(store, findings.file_of(case, "scores.parquet"))
    manifest = manifest_of(session, case)
    query = (
        select(Case, Dataset.files)
        .join(Dataset, Dataset.id == Case.dataset_id)
        .where(Case.project_id == case.project_id, Case.id != case.id, Case.finding.is_not(None))
        .order_by(Case.created_at.desc(), Case.id)
        .limit(LOOKED_AT)
    )
    found = []
    for other, files in session.execute(query):
        # A cleansed version has the numbers of its parent, whose files it shares; other data have other numbers.
        if files.get("manifest.parquet") != manifest or "scores.parquet" not in other.files:
            continue
        theirs = columns.flagged_indices(store, other.files["scores.parquet"])
        n_shared = len(np.intersect1d(mine, theirs, assume_unique=True))
        if n_shared:
            found.append(
                schemas.RelatedCase(
                    id=other.id,
                    number=other.number,
                    name=other.name,
                    state=other.state,
                    model_id=other.model_id,
                    n_flagged=len(theirs),
                    n_shared=n_shared,
                    overlap=n_shared / (len(mine) + len(theirs) - n_shared),
                )
            )
    return sorted(found, key=lambda each: (-each.n_shared, -each.number))
