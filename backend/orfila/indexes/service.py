"""Rules of fingerprint indexes: one for each model, data set and parameters; built once, used by every case."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import __version__
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.indexes.models import FingerprintIndex
from orfila.jobs import service as jobs
from orfila.jobs.contracts import IndexBuildSpec, IndexResult, Phase, Tree, ekfac_parts
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.settings import Settings

_FIRST_OF_STORE = "sketch-00000.npy"
"""A file that EK-FAC engines of this version have."""
FORMAT = "orfila-index/3"
"""Of the files, as the engine writes them: an index in an older format is built again."""
SEED = 0
"""Of the projections. Cases choose their own seed for queries; the index is the same for all of them."""


def key_of(model: ClassifierModel, dataset: Dataset) -> str:
    """Digest of everything that an index depends on: weights, card, data, parameters, code."""
    parts = [model.sha256, model.card, dataset.digest, SEED, FORMAT, __version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find(session: Session, model: ClassifierModel, dataset: Dataset) -> FingerprintIndex | None:
    """The index of a model over a data set, in whatever state it is."""
    query = select(FingerprintIndex).where(
        FingerprintIndex.project_id == model.project_id, FingerprintIndex.key == key_of(model, dataset)
    )
    return session.scalar(query)


def ensure(
    session: Session, settings: Settings, model: ClassifierModel, dataset: Dataset, created_by: str
) -> FingerprintIndex:
    """The index, submitted to be built unless it is there or on its way."""
    index = find(session, model, dataset)
    if index is not None and index.state in ("building", "ready"):
        return index
    if index is None:
        index = _new(session, model, dataset)
    index.state = "building"
    job = jobs.submit(
        session,
        kind="index",
        project_id=model.project_id,
        subject_kind="model",
        subject_id=model.id,
        subject_name=model.name,
        spec=IndexBuildSpec(
            index_id=index.id,
            weights=model.sha256,
            card=models.card_of(model),
            pack=dataset.files,
            n_train=dataset.n_train,
            seed=SEED,
        ),
        stages=[
            jobs.Stage(ranges(settings, dataset), 0.8),
            jobs.Stage(weight=0.05),
            jobs.Stage((jobs.SPLIT,), 0.14),
            jobs.Stage(weight=0.01),
        ],
        created_by=created_by,
    )
    index.job_id = job.id
    session.flush()
    return index


def ranges(settings: Settings, dataset: Dataset) -> list[dict[str, int]]:
    """The ranges of training images that passes over a data set are split into, as payloads of shards."""
    step = settings.index_shard_images
    return [{"start": s, "stop": min(s + step, dataset.n_train)} for s in range(0, dataset.n_train, step)]


def add_built(session: Session, model: ClassifierModel, dataset: Dataset, result: IndexResult) -> FingerprintIndex:
    """The index of a model that a drill made, built there already with the seed that every index has."""
    index = _new(session, model, dataset)
    built(session, index, result)
    return index


def _new(session: Session, model: ClassifierModel, dataset: Dataset) -> FingerprintIndex:
    index = FingerprintIndex(
        id=new_id(),
        project_id=model.project_id,
        key=key_of(model, dataset),
        model_id=model.id,
        dataset_id=dataset.id,
        seed=SEED,
    )
    session.add(index)
    return index


def built(session: Session, index: FingerprintIndex, result: IndexResult) -> None:
    """The index can be used."""
    index.files, index.dimension, index.seconds = dict(result.files), result.dimension, result.seconds
    index.state = "ready"


def gave_up(session: Session, index: FingerprintIndex) -> None:
    """Its job failed or was cancelled: the next case submits it again."""
    index.state = "failed"


def retried(session: Session, index: FingerprintIndex) -> None:
    """Its job runs again."""
    index.state = "building"


def ekfac_phases(settings: Settings, index: FingerprintIndex, dataset: Dataset) -> dict[Phase, jobs.Stage]:
    """The stages of an investigation with EK-FAC, by phase; the factors are made by the first one on an index only."""
    parts = ekfac_parts(dataset.n_train)
    factors: dict[Phase, jobs.Stage] = {
        "moments": jobs.Stage(parts, 0.2),
        "bases": jobs.Stage(weight=0.05),
        "eigenvalues": jobs.Stage(parts, 0.2),
        "factors": jobs.Stage(weight=0.05),
    }
    passes = [payload | {"number": number} for number, payload in enumerate(ranges(settings, dataset))]
    asked: dict[Phase, jobs.Stage] = {"influences": jobs.Stage(passes, 0.35), "finding": jobs.Stage(weight=0.15)}
    return asked if _FIRST_OF_STORE in index.ekfac else factors | asked


def keep_ekfac(session: Session, index_id: str, files: Tree) -> None:
    """Keep the EK-FAC engine that a case made, for the next one on the same model and data."""
    session.get_one(FingerprintIndex, index_id).ekfac = dict(files)


def seconds_per_image(session: Session, project_id: str) -> float | None:
    """What the project's last index took for each training image; None before the first."""
    row = session.execute(
        select(FingerprintIndex.seconds, Dataset.n_train)
        .join(Dataset, Dataset.id == FingerprintIndex.dataset_id)
        .where(FingerprintIndex.project_id == project_id, FingerprintIndex.state == "ready")
        .order_by(FingerprintIndex.created_at.desc())
        .limit(1)
    ).first()
    return row[0] / row[1] if row and row[0] and row[1] else None
