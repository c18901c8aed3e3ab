"""Affected images: where they come from, and what is known of them before the case is scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from orfila import columns, pictures
from orfila.cases import schemas
from orfila.cases.models import Case
from orfila.datasets import images
from orfila.datasets.models import Dataset
from orfila.errors import Conflict, Unprocessable
from orfila.identity.subject import Subject
from orfila.jobs.contracts import AffectedSpec
from orfila.projects.access import require_of
from orfila.storage import BlobStore
from orfila.uploads import service as uploads


@dataclass(frozen=True)
class Resolved:
    """What the engine is given, and what people are shown."""

    spec: AffectedSpec
    image: schemas.AffectedImage


def resolve(
    session: Session,
    subject: Subject,
    store: BlobStore,
    dataset: Dataset,
    predictions: columns.Predictions,
    triggered: Dataset | None,
    sources: list[schemas.AffectedSource],
) -> list[Resolved]:
    """Look every source up. triggered: the case's set of images known to carry the trigger, if it has one.

    Raises Unprocessable for an index that is no test image, or a picture that is none.
    """
    resolved = []
    for number, source in enumerate(sources):
        if source.test_index is not None:
            resolved.append(_of_test_image(store, dataset, predictions, number, source.test_index))
        elif source.triggered_index is not None:
            resolved.append(_of_triggered(store, dataset, triggered, number, source.triggered_index))
        elif source.of_case is not None:
            resolved.append(_of_case(session, subject, dataset, number, source.of_case))
        else:
            resolved.append(_of_upload(session, subject, store, dataset, number, source))
    return resolved


def one_symptom(resolved: list[Resolved], classes: list[str]) -> None:
    """Refuse affected images that are known to be predicted as different labels."""
    labels = sorted({r.image.predicted for r in resolved if r.image.predicted is not None})
    if len(labels) > 1:
        raise Unprocessable(
            f"The affected images are predicted as {' and '.join(classes[i] for i in labels)}; a case has one symptom, "
            "so open one case for each.",
            code="several_symptoms",
        )


def pixels(store: BlobStore, dataset: Dataset, spec: AffectedSpec) -> NDArray[np.uint8]:
    """An affected image in the size and mode of the data set, uint8 [H, W, C]."""
    if spec.test_index is not None:
        return np.asarray(images.pixels_of(store, dataset)[spec.test_index])
    assert spec.image is not None, "an affected image is a test image or an upload"
    return _fitted(store, dataset, spec.image, spec.name)[0]


def _of_test_image(
    store: BlobStore, dataset: Dataset, predictions: columns.Predictions, number: int, index: int
) -> Resolved:
    manifest = images.manifest_of(store, dataset)
    if not 0 <= index < len(manifest) or not manifest.is_test[index]:
        n_all = len(manifest)
        first = int(np.flatnonzero(manifest.is_test)[0]) if manifest.is_test.any() else n_all
        raise Unprocessable(
            f"Image {index} is not a test image of '{dataset.name}'; its test images are {first:,} to {n_all - 1:,}.",
            code="not_a_test_image",
        )
    row, at = manifest.row(index), predictions.at(index)
    spec = AffectedSpec(number=number, name=row["name"], test_index=index, image=None, true_label=row["label"])
    return Resolved(
        spec,
        schemas.AffectedImage(
            number=number,
            name=row["name"],
            test_index=index,
            true_label=row["label"],
            predicted=int(predictions.predicted[at]) if at is not None else None,
            confidence=float(predictions.confidence[at]) if at is not None else None,
            margin=float(predictions.margin[at]) if at is not None else None,
            note="",
        ),
    )


def _of_triggered(store: BlobStore, dataset: Dataset, triggered: Dataset | None, number: int, index: int) -> Resolved:
    if triggered is None:
        raise Unprocessable("Give triggered_dataset_id with an affected image by triggered_index.")
    detail = images.detail(store, triggered, index)
    spec = AffectedSpec(
        number=number,
        name=detail.name,
        test_index=None,
        image=store.put_bytes(images.pixels_png(store, triggered, index)),
        true_label=dataset.classes.index(detail.label_name),
    )
    return Resolved(spec, _not_predicted_yet(spec))


def _of_case(
    session: Session, subject: Subject, dataset: Dataset, number: int, source: schemas.AffectedOfCase
) -> Resolved:
    case = session.get(Case, source.case_id)
    require_of(session, subject, case.project_id if case else None, "read", "case")
    assert case is not None, "require_of raises for an absent object"
    if case.dataset_id != dataset.id:
        raise Unprocessable("The other case is on another data set; give the picture itself.", code="other_dataset")
    if source.number >= len(case.sources):
        raise Unprocessable(f"Case {case.number} has {len(case.sources)} affected images, counted from 0.")
    spec = AffectedSpec.model_validate(case.sources[source.number]).model_copy(update={"number": number})
    image = schemas.AffectedImage.model_validate(case.affected[source.number]).model_copy(update={"number": number})
    return Resolved(spec, image)


def _of_upload(
    session: Session,
    subject: Subject,
    store: BlobStore,
    dataset: Dataset,
    number: int,
    source: schemas.AffectedSource,
) -> Resolved:
    assert source.upload_id is not None, "the schema asks for one of the two"
    upload = uploads.finished(session, subject, dataset.project_id, source.upload_id, "image")
    if source.true_label is not None and not 0 <= source.true_label < len(dataset.classes):
        raise Unprocessable(f"true_label must be between 0 and {len(dataset.classes) - 1}.")
    assert upload.sha256 is not None, "finished uploads have a digest"
    _, note = _fitted(store, dataset, upload.sha256, upload.filename)
    spec = AffectedSpec(
        number=number, name=upload.filename, test_index=None, image=upload.sha256, true_label=source.true_label
    )
    return Resolved(spec, _not_predicted_yet(spec, note))


def _not_predicted_yet(spec: AffectedSpec, note: str = "") -> schemas.AffectedImage:
    return schemas.AffectedImage(
        number=spec.number,
        name=spec.name,
        test_index=None,
        true_label=spec.true_label,
        predicted=None,
        confidence=None,
        margin=None,
        note=note,
    )


def _fitted(store: BlobStore, dataset: Dataset, sha256: str, name: str) -> tuple[NDArray[np.uint8], str]:
    height, width, channels = dataset.height, dataset.width, dataset.channels
    if height is None or width is None or channels is None:
        raise Conflict("The data set is still being read; wait until it is ready.", code="dataset_not_ready")
    with store.open(sha256) as file:
        return pictures.fit(file.read(), name, height, width, channels)
