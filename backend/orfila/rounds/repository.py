"""All SQL of rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import cast

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, insert, select
from sqlalchemy.orm import Session

from orfila.identity.models import User
from orfila.review.models import Resolution, Verdict
from orfila.rounds.models import Assignment, ReviewRound, RoundImage
from orfila.rounds.schemas import Stratum

_BLOCK = 500


def of_case(session: Session, case_id: str) -> list[ReviewRound]:
    """The rounds of a case, the newest first."""
    query = select(ReviewRound).where(ReviewRound.case_id == case_id)
    return list(session.scalars(query.order_by(ReviewRound.created_at.desc(), ReviewRound.id)))


def add(session: Session, row: ReviewRound, images: Mapping[int, Stratum], asked: Mapping[str, Sequence[int]]) -> None:
    """Add a round with its images, and who is asked about what."""
    session.add(row)
    session.flush()
    session.execute(
        insert(RoundImage), [{"round_id": row.id, "image_index": i, "stratum": s} for i, s in images.items()]
    )
    session.execute(
        insert(Assignment),
        [
            {"round_id": row.id, "image_index": index, "reviewer_id": reviewer, "position": position}
            for reviewer, mine in asked.items()
            for position, index in enumerate(mine)
        ],
    )


def _is_answered() -> ColumnElement[bool]:
    """Whether the reviewer of an assignment has a verdict on its image."""
    return exists().where(
        Verdict.case_id == ReviewRound.case_id,
        Verdict.reviewer_id == Assignment.reviewer_id,
        Verdict.image_index == Assignment.image_index,
        Verdict.current,
        Verdict.verdict.is_not(None),
    )


def blind_cases(user_id: str) -> Select[str]:
    """Ids of the cases in which a person has something left to judge blind."""
    return (
        select(ReviewRound.case_id)
        .join(Assignment, Assignment.round_id == ReviewRound.id)
        .where(
            ReviewRound.blind,
            ReviewRound.state.in_(("open", "paused")),
            Assignment.reviewer_id == user_id,
            ~_is_answered(),
        )
    )


def is_blind(session: Session, user_id: str, case_id: str) -> bool:
    """Whether a person has something of a case left to judge blind."""
    return session.scalar(blind_cases(user_id).where(ReviewRound.case_id == case_id).limit(1)) is not None


def unanswered(session: Session, round_id: str, reviewer_id: str) -> list[int]:
    """What a reviewer has left in a round, in their own order."""
    query = (
        select(Assignment.image_index)
        .join(ReviewRound, ReviewRound.id == Assignment.round_id)
        .where(Assignment.round_id == round_id, Assignment.reviewer_id == reviewer_id, ~_is_answered())
        .order_by(Assignment.position)
    )
    return list(session.scalars(query))


def assigned(session: Session, round_id: str) -> dict[int, set[str]]:
    """The reviewers of each image of a round."""
    found: dict[int, set[str]] = {}
    for index, reviewer in session.execute(
        select(Assignment.image_index, Assignment.reviewer_id).where(Assignment.round_id == round_id)
    ):
        found.setdefault(index, set()).add(reviewer)
    return found


def counts(session: Session, round_id: str) -> list[tuple[str, str, int, int, int, int]]:
    """Of each reviewer: id, name, images asked about, answered, controls answered, controls called clean."""
    row = (
        select(
            Assignment.reviewer_id,
            User.name,
            Assignment.image_index,
            RoundImage.stratum,
            Verdict.verdict,
        )
        .join(ReviewRound, ReviewRound.id == Assignment.round_id)
        .join(User, User.id == Assignment.reviewer_id)
        .join(
            RoundImage,
            and_(RoundImage.round_id == Assignment.round_id, RoundImage.image_index == Assignment.image_index),
        )
        .outerjoin(
            Verdict,
            and_(
                Verdict.case_id == ReviewRound.case_id,
                Verdict.reviewer_id == Assignment.reviewer_id,
                Verdict.image_index == Assignment.image_index,
                Verdict.current,
            ),
        )
        .where(Assignment.round_id == round_id)
        .subquery()
    )
    answered = func.count(row.c.verdict)
    control = row.c.stratum == "control"
    query = (
        select(
            row.c.reviewer_id,
            row.c.name,
            func.count(),
            answered,
            func.count(row.c.verdict).filter(control),
            func.count(row.c.verdict).filter(control, row.c.verdict == "clean"),
        )
        .group_by(row.c.reviewer_id, row.c.name)
        .order_by(row.c.name)
    )
    return [tuple(found) for found in session.execute(query)]


def strata(session: Session, round_id: str) -> dict[int, Stratum]:
    """The images of a round."""
    query = select(RoundImage.image_index, RoundImage.stratum).where(RoundImage.round_id == round_id)
    return {index: cast(Stratum, stratum) for index, stratum in session.execute(query)}


def votes(session: Session, case_id: str, round_id: str) -> dict[int, Counter[str]]:
    """Everybody's current verdicts on the images of a round."""
    query = (
        select(Verdict.image_index, Verdict.verdict)
        .join(RoundImage, and_(RoundImage.round_id == round_id, RoundImage.image_index == Verdict.image_index))
        .where(Verdict.case_id == case_id, Verdict.current, Verdict.verdict.is_not(None))
    )
    found: dict[int, Counter[str]] = {}
    for index, verdict in session.execute(query):
        found.setdefault(index, Counter())[verdict or ""] += 1
    return found


def answers_of_assigned(session: Session, round_id: str) -> Counter[int]:
    """How many of an image's reviewers have answered."""
    query = (
        select(Assignment.image_index, func.count())
        .join(ReviewRound, ReviewRound.id == Assignment.round_id)
        .where(Assignment.round_id == round_id, _is_answered())
        .group_by(Assignment.image_index)
    )
    return Counter({row[0]: row[1] for row in session.execute(query)})


def has_verdict(session: Session, case_id: str, index: int) -> bool:
    """Whether anybody has judged an image."""
    query = select(Verdict.id).where(
        Verdict.case_id == case_id, Verdict.image_index == index, Verdict.current, Verdict.verdict.is_not(None)
    )
    return session.scalar(query.limit(1)) is not None


def judged_before(session: Session, case_id: str, reviewers: Collection[str]) -> dict[str, set[int]]:
    """The images of a case that each of these people has a verdict on."""
    query = select(Verdict.reviewer_id, Verdict.image_index).where(
        Verdict.case_id == case_id,
        Verdict.current,
        Verdict.verdict.is_not(None),
        Verdict.reviewer_id.in_(reviewers),
    )
    found: dict[str, set[int]] = {}
    for reviewer, index in session.execute(query):
        found.setdefault(reviewer, set()).add(index)
    return found


def move(session: Session, round_id: str, reviewer_id: str, given: Mapping[str, Sequence[int]]) -> None:
    """Give assignments of one reviewer to others, at the end of what those have."""
    images = [index for mine in given.values() for index in mine]
    for start in range(0, len(images), _BLOCK):
        session.execute(
            delete(Assignment).where(
                Assignment.round_id == round_id,
                Assignment.reviewer_id == reviewer_id,
                Assignment.image_index.in_(images[start : start + _BLOCK]),
            )
        )
    rows = []
    for taker, mine in given.items():
        last = session.scalar(
            select(func.max(Assignment.position)).where(
                Assignment.round_id == round_id, Assignment.reviewer_id == taker
            )
        )
        first = 0 if last is None else last + 1
        rows += [
            {"round_id": round_id, "image_index": index, "reviewer_id": taker, "position": first + place}
            for place, index in enumerate(mine)
        ]
    if rows:
        session.execute(insert(Assignment), rows)


def resolutions(session: Session, case_id: str) -> list[tuple[Resolution, str]]:
    """The final words on a case's images, with the names of who spoke them, by image."""
    query = (
        select(Resolution, User.name)
        .join(User, User.id == Resolution.adjudicator_id)
        .where(Resolution.case_id == case_id)
        .order_by(Resolution.image_index)
    )
    return [(row, name) for row, name in session.execute(query)]
