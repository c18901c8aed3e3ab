"""Rules of rounds: who is asked about what, what is left, conflicts, the final word, signing off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.db import new_id, now
from orfila.errors import Conflict, Forbidden, NotFound, Unprocessable
from orfila.events import publish
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.projects.access import allows, role_of
from orfila.review.models import Resolution
from orfila.review.schemas import Agreement, VerdictItem, VerdictValue
from orfila.rounds import repository, sampling, schemas
from orfila.rounds.models import ReviewRound
from orfila.storage import BlobStore
from orfila.talk import notify

LISTED = 1_000


def list_rounds(session: Session, subject: Subject, case_id: str) -> list[schemas.Round]:
    """The rounds of a case, the newest first."""
    case = cases.find(session, subject, case_id)
    return [_described(session, subject, case, row) for row in repository.of_case(session, case_id)]


def get(session: Session, subject: Subject, round_id: str) -> schemas.Round:
    """One round."""
    row, case = _find(session, subject, round_id)
    return _described(session, subject, case, row)


def create(
    session: Session, subject: Subject, store: BlobStore, case_id: str, body: schemas.RoundCreate
) -> schemas.Round:
    """Draw the images, and ask the reviewers. Raises Unprocessable for people who may not judge, or without images."""
    case = cases.find(session, subject, case_id, "write")
    cases.require_open(case)
    reviewers = list(dict.fromkeys(body.reviewers))
    _require_judges(session, case, [*reviewers, *([body.adjudicator] if body.adjudicator else [])])
    scores = findings.scores(store, case)
    row = ReviewRound(
        id=new_id(),
        case_id=case_id,
        name=body.name,
        reviewers_per_image=body.reviewers_per_image,
        blind=body.blind,
        adjudicator_id=body.adjudicator,
        due_at=body.due_at,
        created_by=subject.user_id,
    )
    rng = np.random.default_rng(int(row.id, 16))
    images = sampling.images_of(body, scores.posterior, scores.flags["flagged"], scores.flags["suspect"], rng)
    if all(stratum == "control" for stratum in images.values()):
        raise Unprocessable("The round has no image but controls; flag something, or sample more.", code="empty_round")
    judged = repository.judged_before(session, case_id, reviewers)
    asked = sampling.split(images, reviewers, body.reviewers_per_image, judged, rng)
    repository.add(session, row, images, asked)
    detail = {
        "name": body.name,
        "images": len(images),
        "reviewers": sorted(_name(session, each) for each in reviewers),
        "reviewers_per_image": body.reviewers_per_image,
        "blind": body.blind,
    }
    for reviewer, mine in asked.items():
        _ask(session, subject, case, row, reviewer, len(mine))
    record(session, subject.name, "round.opened", "round", row.id, case.project_id, detail, case_id=case_id)
    _tell(session, case)
    return _described(session, subject, case, row)


def change(session: Session, subject: Subject, round_id: str, body: schemas.RoundChange) -> schemas.Round:
    """Rename, pause, go on, close, or set another due date. Raises Conflict for a round that is signed off."""
    row, case = _find(session, subject, round_id, "write")
    _require_not_signed(row)
    asked = body.model_fields_set
    detail: dict[str, object] = {}
    if body.name is not None and body.name != row.name:
        row.name = detail["name"] = body.name
    if "due_at" in asked and body.due_at != row.due_at:
        row.due_at = body.due_at
        detail["due_at"] = body.due_at.isoformat() if body.due_at else None
    if body.state is not None and body.state != row.state:
        row.state = detail["state"] = body.state
        row.ended_at = now() if body.state == "closed" else None
    if detail:
        record(session, subject.name, "round.changed", "round", row.id, case.project_id, detail, case_id=case.id)
        _tell(session, case)
    return _described(session, subject, case, row)


def reassign(session: Session, subject: Subject, round_id: str, body: schemas.Reassignment) -> schemas.Round:
    """Give what a reviewer has not judged to others, each image to somebody who is not asked about it yet.

    Raises Conflict where nobody of those is left for an image, or nothing is left to give.
    """
    row, case = _find(session, subject, round_id, "write")
    _require_not_signed(row)
    takers = [each for each in dict.fromkeys(body.to) if each != body.reviewer]
    _require_judges(session, case, takers)
    left = repository.unanswered(session, round_id, body.reviewer)
    if not left:
        raise Conflict("This person has nothing left in the round.", code="nothing_left")
    asked = repository.assigned(session, round_id)
    given: dict[str, list[int]] = {taker: [] for taker in takers}
    for image in left:
        free = [taker for taker in takers if taker not in asked[image]]
        if not free:
            raise Conflict(
                "Everybody named is asked about some of these images already; name more people.", code="no_reviewer"
            )
        given[min(free, key=lambda taker: len(given[taker]))].append(image)
    repository.move(session, round_id, body.reviewer, given)
    for taker, mine in given.items():
        _ask(session, subject, case, row, taker, len(mine))
    detail = {"from": _name(session, body.reviewer), "to": {_name(session, t): len(i) for t, i in given.items()}}
    record(session, subject.name, "round.reassigned", "round", row.id, case.project_id, detail, case_id=case.id)
    _tell(session, case)
    return _described(session, subject, case, row)


def sign_off(session: Session, subject: Subject, round_id: str) -> schemas.Round:
    """Say that the round is done. Raises Conflict while images are not judged or conflicts not decided."""
    row, case = _find(session, subject, round_id, "write")
    _require_not_signed(row)
    found = _described(session, subject, case, row)
    if found.n_answered < found.n_images:
        raise Conflict(
            f"{found.n_images - found.n_answered} of {found.n_images} images are not judged by all who were asked.",
            code="round_not_answered",
        )
    conflicts = _conflicts(session, case, row)
    if conflicts:
        raise Conflict(f"{len(conflicts)} conflicts are not decided.", code="round_in_conflict")
    row.state, row.ended_at = "signed_off", now()
    detail = {"name": row.name, "images": found.n_images}
    record(session, subject.name, "round.signed_off", "round", row.id, case.project_id, detail, case_id=case.id)
    _tell(session, case)
    return _described(session, subject, case, row)


def queue(session: Session, subject: Subject, round_id: str, kind: schemas.QueueKind) -> schemas.Queue:
    """What there is to do. Raises Forbidden for what one may not know yet."""
    row, case = _find(session, subject, round_id, "review")
    if kind == "mine":
        images = [schemas.QueueImage(index=i) for i in _mine(session, subject, row)]
    elif kind == "second":
        images = [schemas.QueueImage(index=i) for i in _second(session, subject, case, row)]
    else:
        _require_sight(session, subject, case)
        if kind == "controls":
            _require_lead(session, subject, case, row)
        chosen = _conflicts(session, case, row) if kind == "conflicts" else _controls(session, row)
        votes = repository.votes(session, case.id, round_id)
        images = [schemas.QueueImage(index=i, verdicts=dict(votes.get(i, {}))) for i in chosen]
    return schemas.Queue(kind=kind, n=len(images), images=images[:LISTED])


def list_resolutions(session: Session, subject: Subject, case_id: str) -> list[schemas.Resolution]:
    """The final words on a case's images."""
    case = cases.find(session, subject, case_id)
    return [_resolution(row, name) for row, name in repository.resolutions(session, case.id)]


def resolve(session: Session, subject: Subject, case_id: str, item: VerdictItem) -> schemas.Resolution | None:
    """Give the final word on an image, or take it back (verdict null; None is returned).

    Raises Forbidden for people who are no adjudicator, and Conflict for an image that nobody has judged.
    """
    case = cases.find(session, subject, case_id, "review")
    cases.require_open(case)
    _require_sight(session, subject, case)
    rounds = repository.of_case(session, case_id)
    if not may_adjudicate(session, subject, case, rounds):
        raise Forbidden("Only the adjudicator of a round, analysts and owners decide conflicts.")
    before = session.get(Resolution, (case_id, item.index))
    detail: dict[str, object] = {
        "index": item.index,
        "verdict": item.verdict,
        "from": before.verdict if before else None,
    }
    if item.verdict is None:
        if before is not None:
            session.delete(before)
            _record_resolution(session, subject, case, detail)
        return None
    if not repository.has_verdict(session, case_id, item.index):
        raise Conflict("Nobody has judged this image; there is nothing to decide.", code="not_judged")
    row = before or Resolution(case_id=case_id, image_index=item.index)
    row.verdict, row.reason, row.adjudicator_id, row.at = item.verdict, item.reason, subject.user_id, now()
    session.add(row)
    session.flush()
    _record_resolution(session, subject, case, detail)
    return _resolution(row, subject.name)


def with_controls(session: Session, subject: Subject, case_id: str, agreement: Agreement) -> Agreement:
    """An agreement that also says how often each reviewer called clean controls clean, where the subject may know."""
    case = cases.find(session, subject, case_id)
    rows = repository.of_case(session, case_id)
    if not rows or is_blind(session, subject, case_id) or not may_adjudicate(session, subject, case, rows):
        return agreement
    answered, right = Counter[str](), Counter[str]()
    for row in rows:
        for _, name, _, _, n_answered, n_right in repository.counts(session, row.id):
            answered[name] += n_answered
            right[name] += n_right
    reviewers = [
        each.model_copy(
            update={"n_controls_answered": answered[each.reviewer], "n_controls_right": right[each.reviewer]}
        )
        for each in agreement.reviewers
    ]
    return agreement.model_copy(update={"reviewers": reviewers})


def may_adjudicate(session: Session, subject: Subject, case: Case, rounds: Iterable[ReviewRound]) -> bool:
    """Whether a person decides conflicts of a case: an adjudicator of one of its rounds, or who may write."""
    named = any(row.adjudicator_id == subject.user_id for row in rounds)
    return named or allows(session, subject, case.project_id, "write")


def is_blind(session: Session, subject: Subject, case_id: str) -> bool:
    """Whether a person has something of a case left to judge blind."""
    return repository.is_blind(session, subject.user_id, case_id)


def blind_cases(session: Session, subject: Subject) -> set[str]:
    """The cases in which a person has something left to judge blind."""
    return set(session.scalars(repository.blind_cases(subject.user_id).distinct()))


def _find(session: Session, subject: Subject, round_id: str, permission: str = "read") -> tuple[ReviewRound, Case]:
    row = session.get(ReviewRound, round_id)
    if row is None:
        raise NotFound("There is no such round.")
    try:
        return row, cases.find(session, subject, row.case_id, permission)  # type: ignore[arg-type]
    except NotFound:
        raise NotFound("There is no such round.") from None


def _require_not_signed(row: ReviewRound) -> None:
    if row.state == "signed_off":
        raise Conflict("The round is signed off, and stays as it is.", code="signed_off")


def _require_judges(session: Session, case: Case, people: Iterable[str]) -> None:
    for each in people:
        user = session.get(User, each)
        role = role_of(session, each, case.project_id)
        if user is None or user.disabled_at is not None or role not in ("owner", "analyst", "reviewer"):
            name = user.name if user is not None else each
            raise Unprocessable(
                f"'{name}' may not judge in this project; make them a reviewer first.", code="no_reviewer"
            )


def _require_sight(session: Session, subject: Subject, case: Case) -> None:
    if is_blind(session, subject, case.id):
        raise Forbidden("You have images left to judge blind in this case; judge them first.", code="blind")


def _require_lead(session: Session, subject: Subject, case: Case, row: ReviewRound) -> None:
    if not may_adjudicate(session, subject, case, [row]):
        raise Forbidden("Which images are controls is for owners, analysts and the adjudicator, after their own part.")


def _mine(session: Session, subject: Subject, row: ReviewRound) -> list[int]:
    return repository.unanswered(session, row.id, subject.user_id) if row.state == "open" else []


def _second(session: Session, subject: Subject, case: Case, row: ReviewRound) -> list[int]:
    """Images that lack an answer of those who were asked, and that the subject neither judged nor is asked about."""
    if row.state != "open":
        return []
    answers, asked = repository.answers_of_assigned(session, row.id), repository.assigned(session, row.id)
    own = repository.judged_before(session, case.id, [subject.user_id]).get(subject.user_id, set())
    waiting = [
        index
        for index, reviewers in asked.items()
        if 0 < answers[index] < len(reviewers) and subject.user_id not in reviewers and index not in own
    ]
    return sorted(waiting)


def _controls(session: Session, row: ReviewRound) -> list[int]:
    return sorted(index for index, stratum in repository.strata(session, row.id).items() if stratum == "control")


def _conflicts(session: Session, case: Case, row: ReviewRound) -> list[int]:
    decided = {found.image_index for found, _ in repository.resolutions(session, case.id)}
    votes = repository.votes(session, case.id, row.id)
    return sorted(i for i, said in votes.items() if said["poison"] and said["clean"] and i not in decided)


def _resolution(row: Resolution, name: str) -> schemas.Resolution:
    return schemas.Resolution(
        index=row.image_index, verdict=_value(row.verdict), reason=row.reason, adjudicator=name, at=row.at
    )


def _value(verdict: str) -> VerdictValue:
    return verdict  # type: ignore[return-value]


def _record_resolution(session: Session, subject: Subject, case: Case, detail: dict[str, object]) -> None:
    record(session, subject.name, "conflict.decided", "case", case.id, case.project_id, detail, case_id=case.id)
    publish(session, "verdicts", {"kind": "verdicts", "id": case.id, "case_id": case.id}, case.project_id)


def _ask(session: Session, subject: Subject, case: Case, row: ReviewRound, reviewer: str, n: int) -> None:
    """Tell a reviewer of images to judge."""
    if n == 0 or reviewer == subject.user_id:
        return
    due = f", due {row.due_at:%d %B %Y}" if row.due_at else ""
    notify(
        session,
        reviewer,
        "assignment",
        actor=subject.name,
        project_id=case.project_id,
        case_id=case.id,
        text=f"{n} images of '{case.name}' to judge in '{row.name}'{due}.",
        path=f"/c/{case.id}/rounds/{row.id}",
    )


def _tell(session: Session, case: Case) -> None:
    publish(session, "round", {"kind": "round", "id": case.id, "case_id": case.id}, case.project_id)


def _name(session: Session, user_id: str | None) -> str:
    return session.scalar(select(User.name).where(User.id == user_id)) or "nobody"


def _described(session: Session, subject: Subject, case: Case, row: ReviewRound) -> schemas.Round:
    sees = not is_blind(session, subject, case.id)
    leads = sees and may_adjudicate(session, subject, case, [row])
    images = repository.strata(session, row.id)
    asked, answers = repository.assigned(session, row.id), repository.answers_of_assigned(session, row.id)
    return schemas.Round(
        id=row.id,
        case_id=row.case_id,
        name=row.name,
        state=row.state,
        blind=row.blind,
        reviewers_per_image=row.reviewers_per_image,
        adjudicator=_name(session, row.adjudicator_id) if row.adjudicator_id else None,
        due_at=row.due_at,
        created_by=_name(session, row.created_by),
        created_at=row.created_at,
        ended_at=row.ended_at,
        n_images=len(images),
        n_controls=sum(stratum == "control" for stratum in images.values()) if leads else None,
        n_answered=sum(answers[index] >= len(reviewers) for index, reviewers in asked.items()),
        n_conflicts=len(_conflicts(session, case, row)) if sees else None,
        n_mine=len(_mine(session, subject, row)),
        reviewers=[
            schemas.RoundReviewer(
                user_id=user_id,
                name=name,
                n_assigned=n_assigned,
                n_answered=n_answered,
                n_controls_answered=n_controls if leads else None,
                n_controls_right=n_right if leads else None,
            )
            for user_id, name, n_assigned, n_answered, n_controls, n_right in repository.counts(session, row.id)
        ],
    )
