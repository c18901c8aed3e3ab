"""All SQL of data sets."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.drills.models import Drill
from orfila.models.models import ClassifierModel


def user_of(session: Session, dataset_id: str) -> str | None:
    """What still needs a data set, in a few words; None when nothing does."""
    model = session.scalar(select(ClassifierModel.name).where(ClassifierModel.dataset_id == dataset_id).limit(1))
    if model is not None:
        return f"the model '{model}'"
    case = session.scalar(
        select(Case.name).where(or_(Case.dataset_id == dataset_id, Case.triggered_dataset_id == dataset_id)).limit(1)
    )
    if case is not None:
        return f"the case '{case}'"
    drill = session.scalar(
        select(Drill.name).where(
            or_(
                Drill.dataset_id == dataset_id,
                Drill.poisoned_dataset_id == dataset_id,
                Drill.triggered_dataset_id == dataset_id,
            )
        )
    )
    if drill is not None:
        return f"the drill '{drill}'"
    child = session.scalar(select(Dataset.name).where(Dataset.parent_id == dataset_id).limit(1))
    return f"the version '{child}'" if child is not None else None


def cleansed(session: Session, parent_id: str, removed: str) -> Dataset | None:
    """The version of a data set without a set of images, if it was made."""
    return session.scalar(select(Dataset).where(Dataset.parent_id == parent_id, Dataset.removed == removed).limit(1))
