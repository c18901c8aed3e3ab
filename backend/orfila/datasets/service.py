"""Rules of data sets: making them of uploads, cleansed versions, deletion. Their images are in `images`."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from orfila import columns
from orfila.audit.service import record
from orfila.datasets import repository, schemas
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.errors import Conflict
from orfila.events import publish
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import IngestResult, IngestSpec
from orfila.projects import keeping
from orfila.projects.access import Permission, require, require_of
from orfila.projects.listing import page_of
from orfila.projects.schemas import Amendment
from orfila.schema_base import Page
from orfila.settings import Settings
from orfila.storage import BlobStore
from orfila.uploads import service as uploads

_IN_PARTS = (jobs.Stage(weight=0.1), jobs.Stage((jobs.SPLIT,), 0.75), jobs.Stage(weight=0.15))
"""Of an ingest, see `IngestSpec`."""


def find(session: Session, subject: Subject, dataset_id: str, permission: Permission = "read") -> Dataset:
    """A data set that the subject may see."""
    dataset = session.get(Dataset, dataset_id)
    require_of(session, subject, dataset.project_id if dataset else None, permission, "data set")
    assert dataset is not None, "require_of raises for an absent object"
    return dataset


def find_ready(session: Session, subject: Subject, dataset_id: str) -> Dataset:
    """A data set whose images can be read. Raises Conflict while it is ingested, or when that failed."""
    dataset = find(session, subject, dataset_id)
    if dataset.state == "ingesting":
        raise Conflict("The data set is still being read; wait until it is ready.", code="dataset_not_ready")
    if dataset.state == "failed":
        raise Conflict(f"The data set could not be read: {dataset.error}", code="dataset_failed")
    return dataset


def list_datasets(
    session: Session, subject: Subject, project_id: str, cursor: str | None, limit: int
) -> Page[schemas.Dataset]:
    """A page of a project's data sets, newest first."""
    return page_of(session, subject, Dataset, project_id, described, cursor, limit)


def create(
    session: Session, subject: Subject, settings: Settings, project_id: str, body: schemas.DatasetCreate
) -> schemas.Dataset:
    """A data set of a finished upload; a job reads it."""
    require(session, subject, project_id, "write")
    upload = uploads.finished(session, subject, project_id, body.upload_id, "dataset")
    assert upload.sha256 is not None, "finished uploads have a digest"
    dataset = Dataset(
        id=new_id(),
        project_id=project_id,
        name=body.name,
        state="ingesting",
        created_by=subject.user_id,
        sha256=upload.sha256,
    )
    session.add(dataset)
    session.flush()
    spec = IngestSpec(
        dataset_id=dataset.id,
        archive=upload.sha256,
        filename=upload.filename,
        on_broken=body.on_broken,
        split_seed=body.split_seed,
        size=body.size,
        labels=body.labels,
        class_names=body.class_names,
        in_parts=upload.size > settings.ingest_whole_bytes,
    )
    job = jobs.submit(
        session,
        kind="ingest",
        project_id=project_id,
        subject_kind="dataset",
        subject_id=dataset.id,
        subject_name=dataset.name,
        spec=spec,
        stages=_IN_PARTS if spec.in_parts else (jobs.Stage(),),
        created_by=subject.user_id,
    )
    dataset.job_id = job.id
    record(
        session, subject.name, "dataset.created", "dataset", dataset.id, project_id,
        {
            "name": body.name,
            "sha256": upload.sha256,
            "on_broken": body.on_broken,
            "size": body.size.model_dump() if body.size else None,
            "labels": body.labels,
            "split_seed": body.split_seed,
            "n_renamed": len(body.class_names or {}),
        },
    )  # fmt: skip
    _tell(session, dataset)
    return described(dataset)


def update(session: Session, subject: Subject, dataset_id: str, body: Amendment) -> schemas.Dataset:
    """Rename it, or preserve it as evidence. The content of a version never changes."""
    dataset = find(session, subject, dataset_id, "write")
    keeping.amend(session, subject, "dataset", dataset, body)
    _tell(session, dataset)
    return described(dataset)


def delete(session: Session, subject: Subject, dataset_id: str) -> None:
    """Remove a data set that nothing refers to. Raises Conflict otherwise."""
    dataset = find(session, subject, dataset_id, "write")
    if dataset.state == "ingesting":
        raise Conflict("The data set is being read; cancel its job first.", code="dataset_not_ready")
    keeping.require_deletable("dataset", dataset, repository.user_of(session, dataset_id))
    record(session, subject.name, "dataset.deleted", "dataset", dataset.id, dataset.project_id, {"name": dataset.name})
    session.delete(dataset)
    publish(session, "dataset", {"kind": "dataset", "id": dataset.id, "state": "deleted"}, dataset.project_id)


def ensure_cleansed(
    session: Session, store: BlobStore, parent: Dataset, removed: str, created_by: str, actor: str, name: str
) -> Dataset:
    """The version of `parent` without the removed images (a .npy blob of indices), made unless it exists."""
    existing = repository.cleansed(session, parent.id, removed)
    if existing is not None:
        return existing
    indices = columns.array(store, removed)
    gone = np.bincount(columns.manifest(store, parent.files["manifest.parquet"]).labels[indices],
                       minlength=len(parent.classes))  # fmt: skip
    train = [n - int(g) for n, g in zip(parent.counts["train"], gone, strict=True)]
    dataset = Dataset(
        id=new_id(),
        project_id=parent.project_id,
        name=name,
        state="ready",
        created_by=created_by,
        sha256=parent.sha256,
        digest=hashlib.sha256(f"cleansed {parent.digest} {removed}".encode()).hexdigest(),
        classes=parent.classes,
        height=parent.height,
        width=parent.width,
        channels=parent.channels,
        n_train=parent.n_train - len(indices),
        n_test=parent.n_test,
        counts={"train": train, "test": parent.counts["test"]},
        intake=parent.intake,
        atlas=parent.atlas,
        files=parent.files,
        parent_id=parent.id,
        removed=removed,
        n_removed=len(indices),
    )
    session.add(dataset)
    session.flush()
    record(
        session, actor, "dataset.cleansed", "dataset", dataset.id, dataset.project_id,
        {"parent": parent.id, "removed": removed, "n_removed": len(indices)},
    )  # fmt: skip
    _tell(session, dataset)
    return dataset


def add_made(
    session: Session, *, project_id: str, name: str, result: IngestResult, drill_id: str, created_by: str
) -> Dataset:
    """A data set that a drill made, ready at once."""
    dataset = Dataset(id=new_id(), project_id=project_id, name=name, created_by=created_by, drill_id=drill_id)
    session.add(dataset)
    session.flush()
    ingested(session, dataset, result)
    return dataset


def ingested(session: Session, dataset: Dataset, result: IngestResult) -> None:
    """The pack is stored: the data set is ready."""
    meta: dict[str, Any] = dict(result.meta)
    dataset.digest = str(meta["digest"])
    dataset.classes = list(meta["classes"])
    dataset.height, dataset.width, dataset.channels = (int(meta[k]) for k in ("height", "width", "channels"))
    dataset.n_train, dataset.n_test = int(meta["n_train"]), int(meta["n_test"])
    dataset.counts = dict(meta["counts"])
    dataset.files = dict(result.files)
    dataset.atlas = meta.get("atlas")
    skipped = list(meta.get("skipped", []))
    dataset.intake = schemas.IntakeReport(
        split=meta.get("split", "given"),
        converted=meta.get("converted", {}),
        examples=meta.get("examples", {}),
        skipped=skipped,
        n_skipped=int(meta.get("n_skipped", len(skipped))),
        n_duplicates=result.n_duplicates,
        seconds=result.seconds,
    ).model_dump(mode="json")
    dataset.state, dataset.error = "ready", None
    record(
        session, "worker", "dataset.ready", "dataset", dataset.id, dataset.project_id,
        {"digest": dataset.digest, "n_train": dataset.n_train, "n_test": dataset.n_test},
    )  # fmt: skip
    _tell(session, dataset)


def ingest_failed(session: Session, dataset: Dataset, sentence: str) -> None:
    """The archive cannot be used."""
    dataset.state, dataset.error = "failed", sentence
    record(session, "worker", "dataset.failed", "dataset", dataset.id, dataset.project_id, {"error": sentence})
    _tell(session, dataset)


def ingest_retried(session: Session, dataset: Dataset) -> None:
    """Its job runs again."""
    dataset.state, dataset.error = "ingesting", None
    _tell(session, dataset)


def described(dataset: Dataset) -> schemas.Dataset:
    """A data set as clients see it."""
    return schemas.Dataset.model_validate(dataset)


def _tell(session: Session, dataset: Dataset) -> None:
    publish(session, "dataset", {"kind": "dataset", "id": dataset.id, "state": dataset.state}, dataset.project_id)
