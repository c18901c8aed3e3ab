"""Rules of models: making them of uploads and repairs, their check, and their predictions on the test split."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from orfila import columns
from orfila.audit.service import record
from orfila.cases.schemas import ScoreColumns
from orfila.datasets import images
from orfila.datasets import service as datasets
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.errors import Conflict, Unprocessable
from orfila.events import publish
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import ModelCheckResult, ModelCheckSpec
from orfila.models import architectures, guessing, repository, schemas, weights
from orfila.models.models import ClassifierModel
from orfila.pagination import decode_cursor, encode_cursor
from orfila.projects import keeping
from orfila.projects.access import Permission, require, require_of
from orfila.projects.listing import page_of
from orfila.projects.schemas import Amendment
from orfila.schema_base import Page
from orfila.storage import BlobStore
from orfila.uploads import conversion
from orfila.uploads import service as uploads


def find(session: Session, subject: Subject, model_id: str, permission: Permission = "read") -> ClassifierModel:
    """A model that the subject may see."""
    model = session.get(ClassifierModel, model_id)
    require_of(session, subject, model.project_id if model else None, permission, "model")
    assert model is not None, "require_of raises for an absent object"
    return model


def find_ready(session: Session, subject: Subject, model_id: str, permission: Permission = "read") -> ClassifierModel:
    """A model that passed its check. Raises Conflict otherwise."""
    model = find(session, subject, model_id, permission)
    if model.state == "checking":
        raise Conflict("The model is still being checked; wait until it is ready.", code="model_not_ready")
    if model.state == "failed":
        raise Conflict(f"The model cannot be used: {model.error}", code="model_failed")
    return model


def list_models(
    session: Session, subject: Subject, project_id: str, cursor: str | None, limit: int
) -> Page[schemas.ClassifierModel]:
    """A page of a project's models, newest first."""
    return page_of(session, subject, ClassifierModel, project_id, described, cursor, limit)


def guess(session: Session, subject: Subject, store: BlobStore, upload_id: str) -> schemas.CardGuess:
    """What an uploaded model says about itself. Raises Unprocessable when the upload is no finished model."""
    upload = uploads.find(session, subject, upload_id)
    upload = uploads.finished(session, subject, upload.project_id, upload_id, "model")
    assert upload.sha256 is not None, "finished uploads have a digest"
    conversion.require_converted(store, upload)
    with store.open(upload.sha256) as file:
        return guessing.guess(file, upload.size)


def create(
    session: Session, subject: Subject, store: BlobStore, project_id: str, body: schemas.ModelCreate
) -> schemas.ClassifierModel:
    """A model of a finished upload. A job checks it against its architecture and predicts the data set.

    Raises Unprocessable when there is no card, or the card does not fit the data set.
    """
    require(session, subject, project_id, "write")
    upload = uploads.finished(session, subject, project_id, body.upload_id, "model")
    dataset = datasets.find_ready(session, subject, body.dataset_id)
    if dataset.project_id != project_id:
        raise Unprocessable("The data set belongs to another project; choose one of this project.")
    assert upload.sha256 is not None, "finished uploads have a digest"
    conversion.require_converted(store, upload)
    with store.open(upload.sha256) as file:
        metadata = weights.read_metadata(file, upload.size)
    card = body.card or weights.card_of(metadata)
    if card is None:
        raise Unprocessable(
            "The file's metadata has no model card; give one with the request: architecture, classes, input_size, "
            "channels, mean and std.",
            code="model_card_missing",
        )
    check_fits(card, dataset)
    model = ClassifierModel(
        id=new_id(),
        project_id=project_id,
        dataset_id=dataset.id,
        name=body.name,
        created_by=subject.user_id,
        sha256=upload.sha256,
        card=card.model_dump(mode="json"),
    )
    session.add(model)
    session.flush()
    job = jobs.submit(
        session,
        kind="model_check",
        project_id=project_id,
        subject_kind="model",
        subject_id=model.id,
        subject_name=model.name,
        spec=ModelCheckSpec(model_id=model.id, weights=upload.sha256, card=card, pack=dataset.files),
        created_by=subject.user_id,
    )
    model.job_id = job.id
    record(
        session, subject.name, "model.created", "model", model.id, project_id,
        {"name": body.name, "sha256": upload.sha256, "architecture": card.architecture, "dataset": dataset.id},
    )  # fmt: skip
    _tell(session, model)
    return described(model)


def update(session: Session, subject: Subject, model_id: str, body: Amendment) -> schemas.ClassifierModel:
    """Rename it, or preserve it as evidence."""
    model = find(session, subject, model_id, "write")
    keeping.amend(session, subject, "model", model, body)
    _tell(session, model)
    return described(model)


def delete(session: Session, subject: Subject, model_id: str) -> None:
    """Remove a model that nothing refers to, with its index. Raises Conflict otherwise."""
    model = find(session, subject, model_id, "write")
    if model.state == "checking" or repository.is_indexing(session, model_id):
        raise Conflict("A job still works on the model; wait for it, or cancel it first.", code="model_not_ready")
    keeping.require_deletable("model", model, repository.user_of(session, model_id))
    record(session, subject.name, "model.deleted", "model", model.id, model.project_id, {"name": model.name})
    session.delete(model)
    publish(session, "model", {"kind": "model", "id": model.id, "state": "deleted"}, model.project_id)


def require_whole(dataset: Dataset) -> None:
    """Refuse a cleansed version: its training images are not numbered from 0 to the last."""
    if dataset.parent_id is not None:
        raise Unprocessable(
            "This model was trained on a cleansed version, which cannot be investigated as it is: upload the kept "
            "images (index.csv of the version lists them) as a data set of their own, with the model.",
            code="cleansed_version",
        )


def check_fits(card: schemas.ModelCard, dataset: Dataset) -> None:
    """Refuse a card that contradicts itself or the data set."""
    architectures.require_known(card.architecture)
    if len(card.classes) != len(dataset.classes):
        raise Unprocessable(
            f"The model has {len(card.classes)} classes and the data set '{dataset.name}' has {len(dataset.classes)}; "
            "choose the data set that the model was trained on.",
            code="class_count_differs",
        )
    if sorted(card.classes) == sorted(dataset.classes) and card.classes != dataset.classes:
        raise Unprocessable(
            "The model has the data set's classes in another order, so its answers would be read wrongly; list the "
            f"classes in this order: {', '.join(dataset.classes)[:400]}.",
            code="class_order_differs",
        )
    if len(card.mean) != card.channels or len(card.std) != card.channels or min(card.std, default=0) <= 0:
        raise Unprocessable(
            f"The model card needs {card.channels} numbers in mean and {card.channels} positive ones in std, one for "
            "each channel.",
            code="bad_model_card",
        )
    if not all(1 <= edge <= 1024 for edge in card.input_size):
        raise Unprocessable("The model card's input_size must be between 1 and 1,024 pixels.", code="bad_model_card")


def checked(session: Session, model: ClassifierModel, result: ModelCheckResult) -> None:
    """The check passed: the model is ready."""
    model.card = result.card.model_dump(mode="json")
    model.n_parameters = result.n_parameters
    model.accuracy_train, model.accuracy_test = result.accuracy_train, result.accuracy_test
    model.warnings = list(result.warnings)
    model.files = dict(result.files)
    model.state, model.error = "ready", None
    record(
        session, "worker", "model.ready", "model", model.id, model.project_id,
        {"sha256": model.sha256, "accuracy_test": result.accuracy_test},
    )  # fmt: skip
    _tell(session, model)


def check_failed(session: Session, model: ClassifierModel, sentence: str) -> None:
    """The file is not what its card says."""
    model.state, model.error = "failed", sentence
    record(session, "worker", "model.failed", "model", model.id, model.project_id, {"error": sentence})
    _tell(session, model)


def check_retried(session: Session, model: ClassifierModel) -> None:
    """Its job runs again."""
    model.state, model.error = "checking", None
    _tell(session, model)


def add_made(
    session: Session,
    dataset: Dataset,
    *,
    name: str,
    sha256: str,
    check: ModelCheckResult,
    created_by: str,
    remedy_id: str | None = None,
    drill_id: str | None = None,
) -> ClassifierModel:
    """A model that a remedy or a drill trained on a data set (or on a cleansed version), ready at once."""
    model = ClassifierModel(
        id=new_id(),
        project_id=dataset.project_id,
        dataset_id=dataset.id,
        name=name,
        created_by=created_by,
        sha256=sha256,
        remedy_id=remedy_id,
        drill_id=drill_id,
    )
    session.add(model)
    session.flush()
    checked(session, model, check)
    return model


def predictions_of(store: BlobStore, model: ClassifierModel) -> columns.Predictions:
    """What the model says of the test split."""
    return columns.predictions(store, model.files["predictions.npz"])


def confusion(session: Session, subject: Subject, store: BlobStore, model_id: str) -> schemas.ConfusionMatrix:
    """Counts on the test split, `matrix[true][predicted]`."""
    model = find_ready(session, subject, model_id)
    dataset = session.get_one(Dataset, model.dataset_id)
    found, n = predictions_of(store, model), len(dataset.classes)
    matrix = np.bincount(found.label * n + found.predicted, minlength=n * n).reshape(n, n)
    return schemas.ConfusionMatrix(classes=dataset.classes, matrix=matrix.tolist())


def list_predictions(
    session: Session,
    subject: Subject,
    store: BlobStore,
    model_id: str,
    *,
    label: int | None,
    predicted: int | None,
    misclassified: bool | None,
    cursor: str | None,
    limit: int,
) -> Page[schemas.Prediction]:
    """Test images that match, most confident first."""
    model = find_ready(session, subject, model_id)
    found = predictions_of(store, model)
    mask = np.ones(len(found.index), dtype=bool)
    if label is not None:
        mask &= found.label == label
    if predicted is not None:
        mask &= found.predicted == predicted
    if misclassified is not None:
        mask &= (found.label != found.predicted) == misclassified
    total = int(mask.sum())
    if cursor is not None:
        confidence, index = decode_cursor(cursor, (float, int))
        mask &= (found.confidence < confidence) | ((found.confidence == confidence) & (found.index > index))
    rows = np.flatnonzero(mask)
    rows = rows[np.lexsort((found.index[rows], -found.confidence[rows]))]
    manifest = images.manifest_of(store, session.get_one(Dataset, model.dataset_id))
    names = manifest.rows(found.index[rows[:limit]])
    items = [_prediction(found, int(r), name["name"]) for r, name in zip(rows[:limit], names, strict=True)]
    more = len(rows) > limit
    next_cursor = encode_cursor([items[-1].confidence, items[-1].index]) if more else None
    return Page(items=items, next_cursor=next_cursor, total=total)


def prediction_columns(session: Session, subject: Subject, store: BlobStore, model_id: str) -> ScoreColumns:
    """What the model says of every test image: index, label, predicted, confidence, margin."""
    found = predictions_of(store, find_ready(session, subject, model_id))
    names = ("index", "label", "predicted", "confidence", "margin")
    return ScoreColumns(n=len(found.index), columns={n: images.column(getattr(found, n)) for n in names})


def _prediction(found: columns.Predictions, row: int, name: str) -> schemas.Prediction:
    return schemas.Prediction(
        index=int(found.index[row]),
        name=name,
        label=int(found.label[row]),
        predicted=int(found.predicted[row]),
        confidence=float(found.confidence[row]),
        margin=float(found.margin[row]),
    )


def card_of(model: ClassifierModel) -> schemas.ModelCard:
    """The card of a model that has one (every model that is ready does)."""
    fields: Any = model.card
    return schemas.ModelCard.model_validate(fields)


def described(model: ClassifierModel) -> schemas.ClassifierModel:
    """A model as clients see it."""
    return schemas.ClassifierModel.model_validate(model)


def _tell(session: Session, model: ClassifierModel) -> None:
    publish(session, "model", {"kind": "model", "id": model.id, "state": model.state}, model.project_id)
