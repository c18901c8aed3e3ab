"""Rules of review: verdicts are rows of their reviewer; nobody overwrites another's; everything can be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.errors import Conflict, Unprocessable
from orfila.events import publish
from orfila.identity.subject import Subject
from orfila.review import agreement, estimates, informative, learning, repository, schemas
from orfila.storage import BlobStore

AUDITED_INDICES = 200
"""An audit event names at most this many images; the rows themselves are kept in any case."""


def list_verdicts(session: Session, subject: Subject, case_id: str, *, own: bool = False) -> list[schemas.Verdict]:
    """Everybody's current verdicts, or one's own."""
    cases.find(session, subject, case_id)
    return [
        schemas.Verdict(index=v.image_index, verdict=v.verdict, reason=v.reason, reviewer=name, at=v.at)
        for v, name in repository.current(session, case_id, subject.user_id if own else None)
    ]


def post(
    session: Session, subject: Subject, store: BlobStore, case_id: str, body: schemas.VerdictsPost
) -> schemas.VerdictsPosted:
    """Record verdicts of the subject. The answer holds what is needed to undo them."""
    found = _post(session, subject, store, case_id, body.items)
    if found.changed:
        said = {item.index: item for item in body.items}
        given = [said[before.index] for before in found.previous]
        repository.add_batch(session, case_id, subject.user_id, given, found.previous)
    return found


def restore(
    session: Session, subject: Subject, store: BlobStore, case_id: str, *, redo: bool = False
) -> schemas.VerdictsRestored:
    """Take back what the subject gave last, as a whole, or give again what was taken back.

    Raises Conflict where there is nothing of that kind.
    """
    cases.find(session, subject, case_id, "review")
    batch = repository.next_batch(session, case_id, subject.user_id, redo=redo)
    if batch is None:
        raise Conflict(f"There is nothing to {'redo' if redo else 'undo'}.", code="nothing_to_restore")
    rows = batch.given if redo else batch.previous
    items = [schemas.VerdictItem(index=index, verdict=verdict, reason=reason) for index, verdict, reason in rows]
    _post(session, subject, store, case_id, items)
    batch.undone = not redo
    return schemas.VerdictsRestored(items=items)


def _post(
    session: Session, subject: Subject, store: BlobStore, case_id: str, given: Sequence[schemas.VerdictItem]
) -> schemas.VerdictsPosted:
    case = cases.find(session, subject, case_id, "review")
    cases.require_open(case)
    n_train = len(findings.scores(store, case))
    items = {item.index: item for item in given}  # the last one on an image counts
    beyond = next((i for i in items if i >= n_train), None)
    if beyond is not None:
        raise Unprocessable(f"There is no training image {beyond}; the case has the images 0 to {n_train - 1:,}.")
    before = repository.own(session, case_id, subject.user_id, items)
    changing = []
    for item in items.values():
        old = before.get(item.index)
        if (old.verdict if old else None, old.reason if old else None) != (item.verdict, item.reason):
            changing.append(item)
    if not changing:
        return schemas.VerdictsPosted(changed=0, replaced=0, previous=[])
    rows = [before[i.index] for i in changing if i.index in before]
    repository.add(session, case_id, subject.user_id, changing, [r.id for r in rows])
    record(
        session,
        subject.name,
        "verdicts.recorded",
        "case",
        case_id,
        case.project_id,
        {
            "count": len(changing),
            "verdicts": dict(Counter(str(i.verdict) for i in changing)),
            "indices": sorted(i.index for i in changing)[:AUDITED_INDICES],
        },
        case_id=case_id,
    )
    publish(session, "verdicts", {"kind": "verdicts", "id": case_id, "case_id": case_id}, case.project_id)
    previous = [_previous(i.index, before.get(i.index)) for i in changing]
    return schemas.VerdictsPosted(
        changed=len(changing), replaced=sum(r.verdict is not None for r in rows), previous=previous
    )


def agreed(session: Session, subject: Subject, case_id: str) -> schemas.Agreement:
    """How far the reviewers of a case agree."""
    cases.find(session, subject, case_id)
    return agreement.agreement(repository.current(session, case_id))


def progress(session: Session, subject: Subject, store: BlobStore, case_id: str) -> schemas.ReviewProgress:
    """How far the review is, and what it says of the flagged set."""
    case = cases.find(session, subject, case_id)
    scores = findings.scores(store, case)
    verdicts = repository.effective(session, case_id)
    flagged = scores.flags["flagged"]
    counts = Counter(verdicts.values())
    judged = np.zeros(len(scores), dtype=bool)
    judged[list(verdicts)] = True
    return schemas.ReviewProgress(
        n_flagged=int(flagged.sum()),
        n_judged=len(verdicts),
        n_poison=counts["poison"],
        n_clean=counts["clean"],
        n_unsure=counts["unsure"],
        n_flagged_judged=int((flagged & judged).sum()),
        precision=estimates.precision(scores, verdicts),
        recall=estimates.recall(scores, verdicts),
        n_to_learn=learning.n_to_learn(session, store, case),
        answers_to_5_percent=estimates.answers_needed(scores, verdicts),
    )


def next_images(session: Session, subject: Subject, store: BlobStore, case_id: str, limit: int) -> schemas.NextImages:
    """What to judge next, the most informative first. The same until somebody judges, or the scores learn."""
    case = cases.find(session, subject, case_id)
    scores = findings.scores(store, case)
    verdicts = repository.effective(session, case_id)
    rng = np.random.default_rng(int(case_id, 16))
    left = scores.flags["suspect"].copy()
    left[list(verdicts)] = False
    images = informative.most_informative_first(scores, verdicts, rng, limit)
    return schemas.NextImages(n=int(left.sum()), images=images)


def _previous(index: int, old: object | None) -> schemas.VerdictItem:
    verdict = getattr(old, "verdict", None)
    return schemas.VerdictItem(index=index, verdict=verdict, reason=getattr(old, "reason", None) if verdict else None)
