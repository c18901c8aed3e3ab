"""All SQL of models."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila.cases.models import Case
from orfila.drills.models import Drill
from orfila.indexes.models import FingerprintIndex
from orfila.remedies.models import Remedy
from orfila.sweeps.models import Sweep


def user_of(session: Session, model_id: str) -> str | None:
    """What still needs a model, in a few words; None when nothing does."""
    case = session.scalar(select(Case.name).where(Case.model_id == model_id).limit(1))
    if case is not None:
        return f"the case '{case}'"
    drill = session.scalar(select(Drill.name).where(Drill.model_id == model_id).limit(1))
    if drill is not None:
        return f"the drill '{drill}'"
    if session.scalar(select(Sweep.id).where(Sweep.model_id == model_id).limit(1)) is not None:
        return "a sweep"
    repaired = session.scalar(
        select(Case.name).join(Remedy, Remedy.case_id == Case.id).where(Remedy.model_id == model_id).limit(1)
    )
    return None if repaired is None else f"a repair of the case '{repaired}'"


def is_indexing(session: Session, model_id: str) -> bool:
    """Whether an index of the model is being built."""
    building = select(FingerprintIndex.id).where(
        FingerprintIndex.model_id == model_id, FingerprintIndex.state == "building"
    )
    return session.scalar(building.limit(1)) is not None
