"""All SQL of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from orfila.db import now
from orfila.identity.models import User
from orfila.review.models import Resolution, Verdict, VerdictBatch
from orfila.review.schemas import VerdictItem, VerdictValue

KEPT_BATCHES = 200
"""Of each reviewer on each case, for undo."""
_BLOCK = 500


def current(session: Session, case_id: str, reviewer_id: str | None = None) -> Sequence[tuple[Verdict, str]]:
    """Every reviewer's current verdicts with the reviewer's name, by image; or those of one reviewer."""
    query = (
        select(Verdict, User.name)
        .join(User, User.id == Verdict.reviewer_id)
        .where(Verdict.case_id == case_id, Verdict.current, Verdict.verdict.is_not(None))
        .order_by(Verdict.image_index, User.name)
    )
    if reviewer_id is not None:
        query = query.where(Verdict.reviewer_id == reviewer_id)
    return [(v, name) for v, name in session.execute(query)]


def own(session: Session, case_id: str, reviewer_id: str, indices: Iterable[int]) -> dict[int, Verdict]:
    """A reviewer's newest rows on some images, taken-back ones included."""
    wanted = list(indices)
    found: dict[int, Verdict] = {}
    for start in range(0, len(wanted), _BLOCK):
        query = select(Verdict).where(
            Verdict.case_id == case_id,
            Verdict.reviewer_id == reviewer_id,
            Verdict.current,
            Verdict.image_index.in_(wanted[start : start + _BLOCK]),
        )
        found |= {v.image_index: v for v in session.scalars(query)}
    return found


def add(session: Session, case_id: str, reviewer_id: str, items: Sequence[VerdictItem], replaced: list[int]) -> None:
    """Add rows; the rows that they follow (ids in `replaced`) stay, no longer current."""
    for start in range(0, len(replaced), _BLOCK):
        session.execute(update(Verdict).where(Verdict.id.in_(replaced[start : start + _BLOCK])).values(current=False))
    at = now()
    rows: list[dict[str, Any]] = [
        {
            "case_id": case_id,
            "image_index": item.index,
            "reviewer_id": reviewer_id,
            "verdict": item.verdict,
            "reason": item.reason,
            "at": at,
            "current": True,
        }
        for item in items
    ]
    session.execute(insert(Verdict), rows)


def effective(session: Session, case_id: str) -> dict[int, VerdictValue]:
    """What the team says of each judged image: the final word where an adjudicator has spoken, else the majority of
    poison and clean; unsure where they are equal.
    """
    votes: dict[int, Counter[str]] = {}
    query = select(Verdict.image_index, Verdict.verdict).where(
        Verdict.case_id == case_id, Verdict.current, Verdict.verdict.is_not(None)
    )
    for index, verdict in session.execute(query):
        votes.setdefault(index, Counter())[verdict or ""] += 1
    spoken = select(Resolution.image_index, Resolution.verdict).where(Resolution.case_id == case_id)
    final: dict[int, VerdictValue] = {index: cast(VerdictValue, verdict) for index, verdict in session.execute(spoken)}
    return {index: final.get(index) or _majority(count) for index, count in votes.items()}


def add_batch(
    session: Session, case_id: str, reviewer_id: str, given: Sequence[VerdictItem], previous: Sequence[VerdictItem]
) -> None:
    """Remember verdicts given at once; what had been undone cannot be redone any more."""
    session.execute(
        delete(VerdictBatch).where(
            VerdictBatch.case_id == case_id, VerdictBatch.reviewer_id == reviewer_id, VerdictBatch.undone
        )
    )
    rows = [[[i.index, i.verdict, i.reason] for i in items] for items in (given, previous)]
    session.add(VerdictBatch(case_id=case_id, reviewer_id=reviewer_id, given=rows[0], previous=rows[1]))
    session.flush()
    old = (
        select(VerdictBatch.id)
        .where(VerdictBatch.case_id == case_id, VerdictBatch.reviewer_id == reviewer_id)
        .order_by(VerdictBatch.id.desc())
        .offset(KEPT_BATCHES)
    )
    if ids := list(session.scalars(old)):
        session.execute(delete(VerdictBatch).where(VerdictBatch.id.in_(ids)))


def next_batch(session: Session, case_id: str, reviewer_id: str, *, redo: bool) -> VerdictBatch | None:
    """What an undo takes back (the last batch that is not undone), or a redo gives again (the first that is)."""
    query = select(VerdictBatch).where(
        VerdictBatch.case_id == case_id, VerdictBatch.reviewer_id == reviewer_id, VerdictBatch.undone.is_(redo)
    )
    return session.scalar(query.order_by(VerdictBatch.id if redo else VerdictBatch.id.desc()).limit(1))


def n_judged(session: Session, case_id: str) -> int:
    """Images with at least one current verdict."""
    query = select(func.count(func.distinct(Verdict.image_index))).where(
        Verdict.case_id == case_id, Verdict.current, Verdict.verdict.is_not(None)
    )
    return session.scalar(query) or 0


def _majority(count: Counter[str]) -> VerdictValue:
    if count["poison"] > count["clean"]:
        return "poison"
    return "clean" if count["clean"] > count["poison"] else "unsure"
