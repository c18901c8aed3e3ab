"""Rules of maps: one for each case and method, made when somebody asks for it."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import columns, runs
from orfila.audit.service import record
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.datasets.images import column
from orfila.db import new_id
from orfila.errors import Conflict, NotFound
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import MapResult, MapSpec
from orfila.maps import schemas
from orfila.maps.models import FingerprintMap
from orfila.projects.access import require_of
from orfila.storage import BlobStore


def find(session: Session, subject: Subject, map_id: str) -> FingerprintMap:
    """A map that the subject may see."""
    found = session.get(FingerprintMap, map_id)
    require_of(session, subject, found.project_id if found else None, "read", "map")
    assert found is not None, "require_of raises for an absent object"
    return found


def list_maps(session: Session, subject: Subject, case_id: str) -> list[schemas.FingerprintMap]:
    """A case's maps."""
    cases.find(session, subject, case_id)
    rows = session.scalars(select(FingerprintMap).where(FingerprintMap.case_id == case_id).order_by("method"))
    return [described(session, row) for row in rows]


def create(session: Session, subject: Subject, case_id: str, body: schemas.MapCreate) -> schemas.FingerprintMap:
    """The map of a case by a method: the one that is there or on its way, else a new one. Verdicts do not move it."""
    case = cases.find(session, subject, case_id, "review")
    scores = findings.file_of(case, "scores.parquet")
    query = select(FingerprintMap).where(FingerprintMap.case_id == case_id, FingerprintMap.method == body.method)
    row = session.scalar(query)
    if row is not None and (row.state == "running" or (row.state == "finished" and not _is_old(row))):
        return described(session, row)
    if row is None:
        row = FingerprintMap(
            id=new_id(), project_id=case.project_id, case_id=case.id, method=body.method, created_by=subject.user_id
        )
        session.add(row)
        session.flush()
    row.job_id = _submit(session, subject, case, row, scores)
    record(session, subject.name, "map.asked", "map", row.id, case.project_id, {"method": body.method}, case_id=case.id)
    runs.restarted(session, row)
    return described(session, row)


def succeeded(session: Session, row: FingerprintMap, result: MapResult) -> None:
    """It is drawn."""
    row.files = dict(result.files)
    runs.finished(session, row)


def coordinates(store: BlobStore, row: FingerprintMap) -> schemas.MapColumns:
    """Where every training image lies. Raises Conflict while the map is not made."""
    if row.state != "finished":
        raise Conflict(f"The map is {row.state}; ask for it again when its job is done.", code="map_not_finished")
    points = columns.array(store, row.files["points.npy"])
    about = columns.json_file(store, row.files["map.json"])
    return schemas.MapColumns(
        n=len(points),
        x=column(points[:, 0]),
        y=column(points[:, 1]),
        shown=int(np.isfinite(points[:, 0]).sum()),
        explained=about["explained"],
    )


def nearest(session: Session, store: BlobStore, case: Case, index: int, limit: int) -> schemas.Nearest:
    """The suspects nearest to one. Raises Conflict before the map by main axes is made, NotFound for no training image.

    The distance along the main axes leaves out what is noise in the fingerprints; nothing of the index is read.
    """
    scores = findings.scores(store, case)
    if not 0 <= index < len(scores):
        raise NotFound(f"The case has the training images 0 to {len(scores) - 1:,}.")
    row = session.scalar(
        select(FingerprintMap).where(FingerprintMap.case_id == case.id, FingerprintMap.method == "pca")
    )
    if row is None or row.state != "finished" or _is_old(row):
        raise Conflict(
            "Neighbours are read from the map by main axes; ask for it first (POST .../maps).", code="map_not_finished"
        )
    suspects = np.flatnonzero(scores.flags["suspect"])
    if not scores.flags["suspect"][index]:
        return schemas.Nearest(is_suspect=False, items=[])
    coordinates = columns.array(store, row.files["coordinates.npy"])
    own = int(np.searchsorted(suspects, index))
    distances = np.linalg.norm(coordinates - coordinates[own], axis=1)
    distances[own] = np.inf
    order = np.argsort(distances, kind="stable")[: min(limit, len(suspects) - 1)]
    return schemas.Nearest(
        is_suspect=True,
        items=[schemas.Neighbour(index=int(suspects[k]), distance=float(distances[k])) for k in order],
    )


def _is_old(row: FingerprintMap) -> bool:
    """Whether a map by main axes was made before neighbours were kept with it."""
    return row.method == "pca" and "coordinates.npy" not in row.files


def described(session: Session, row: FingerprintMap) -> schemas.FingerprintMap:
    """A map as clients see it."""
    fields = ("id", "case_id", "method", "state", "error", "job_id", "created_at")
    return schemas.FingerprintMap(
        **{name: getattr(row, name) for name in fields}, created_by=session.get_one(User, row.created_by).name
    )


def _submit(session: Session, subject: Subject, case: Case, row: FingerprintMap, scores: str) -> str:
    job = jobs.submit(
        session,
        kind="map",
        project_id=case.project_id,
        subject_kind="case",
        subject_id=case.id,
        subject_name=case.name,
        spec=MapSpec(map_id=row.id, index_id=case.index_id, scores=scores, method=row.method, seed=case.seed),
        queue="interactive" if row.method == "pca" else None,
        created_by=subject.user_id,
    )
    return job.id
