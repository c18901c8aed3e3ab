"""Rules of comments and notifications."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from orfila.audit.service import record
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.db import now
from orfila.errors import Forbidden, NotFound, Unprocessable
from orfila.events import publish
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.projects.models import Membership
from orfila.rounds import repository as rounds
from orfila.storage import BlobStore
from orfila.talk import schemas
from orfila.talk.models import Comment, Notification
from orfila.talk.notices import notify

LISTED = 100
LATER = "A comment mentions you; it is shown when you have judged your images of this case."
"""What somebody is told who judges the case blind, in the application and by e-mail."""


def list_comments(session: Session, subject: Subject, case_id: str, index: int | None) -> list[schemas.Comment]:
    """The comments on a case, oldest first; with an index, those on one image."""
    case = cases.find(session, subject, case_id)
    query = select(Comment, User.name).join(User, User.id == Comment.author_id).where(Comment.case_id == case_id)
    if index is not None:
        query = query.where(Comment.image_index == index)
    names = _members(session, case.project_id)
    return [
        _described(subject, comment, author, mentioned(comment.text, names))
        for comment, author in session.execute(query.order_by(Comment.at, Comment.id))
    ]


def comment(
    session: Session, subject: Subject, store: BlobStore, case_id: str, body: schemas.CommentCreate
) -> schemas.Comment:
    """Say something, and tell those whom it mentions. Raises Unprocessable for an image that is not there."""
    case = cases.find(session, subject, case_id, "review")
    cases.require_open(case)
    if body.index is not None and body.index >= len(findings.scores(store, case)):
        raise Unprocessable(f"There is no training image {body.index} in this case.")
    row = Comment(case_id=case_id, image_index=body.index, author_id=subject.user_id, text=body.text)
    session.add(row)
    session.flush()
    names = _members(session, case.project_id)
    mentions = mentioned(body.text, names)
    _tell(session, subject, case, row, {names[name] for name in mentions})
    detail = {"index": body.index, "mentions": mentions}
    record(session, subject.name, "comment.added", "comment", row.id, case.project_id, detail, case_id=case_id)
    return _described(subject, row, subject.name, mentions)


def change(session: Session, subject: Subject, comment_id: str, body: schemas.CommentChange) -> schemas.Comment:
    """Reword one's own comment; people whom only the new wording mentions are told."""
    row, case = _own(session, subject, comment_id)
    names = _members(session, case.project_id)
    before, mentions = mentioned(row.text, names), mentioned(body.text, names)
    row.text, row.edited_at = body.text, now()
    _tell(session, subject, case, row, {names[name] for name in mentions if name not in before})
    detail = {"index": row.image_index, "mentions": mentions}
    record(session, subject.name, "comment.changed", "comment", row.id, case.project_id, detail, case_id=case.id)
    return _described(subject, row, subject.name, mentions)


def delete(session: Session, subject: Subject, comment_id: str) -> None:
    """Take back one's own comment."""
    row, case = _own(session, subject, comment_id)
    session.delete(row)
    detail = {"index": row.image_index}
    record(session, subject.name, "comment.deleted", "comment", row.id, case.project_id, detail, case_id=case.id)
    _publish(session, case)


def list_notifications(session: Session, subject: Subject) -> schemas.Notifications:
    """One's last notifications."""
    mine = Notification.user_id == subject.user_id
    rows = session.scalars(select(Notification).where(mine).order_by(Notification.id.desc()).limit(LISTED))
    unread = session.scalar(select(func.count()).where(mine, Notification.read_at.is_(None))) or 0
    fields = [f for f in schemas.Notification.model_fields if f != "read"]
    return schemas.Notifications(
        n_unread=unread,
        items=[
            schemas.Notification(**{f: getattr(row, f) for f in fields}, read=row.read_at is not None) for row in rows
        ],
    )


def mark_read(session: Session, subject: Subject, up_to: int) -> schemas.Notifications:
    """Mark one's notifications as read, up to one of them."""
    session.execute(
        update(Notification)
        .where(Notification.user_id == subject.user_id, Notification.id <= up_to, Notification.read_at.is_(None))
        .values(read_at=now())
    )
    return list_notifications(session, subject)


def mentioned(text: str, names: Iterable[str]) -> list[str]:
    """The names that a text mentions as @NAME, the longest that fits at each place, in alphabetical order."""
    if "@" not in text or not (alternatives := sorted(names, key=len, reverse=True)):
        return []
    pattern = "|".join(re.escape(name) for name in alternatives)
    found = re.findall(rf"(?<!\w)@({pattern})(?!\w)", text, re.IGNORECASE)
    by_fold = {name.casefold(): name for name in alternatives}
    return sorted({by_fold[name.casefold()] for name in found})


def _tell(session: Session, subject: Subject, case: Case, row: Comment, people: Iterable[str]) -> None:
    where = f"/c/{case.id}" if row.image_index is None else f"/c/{case.id}/evidence?tab=all&i={row.image_index}"
    told = set(people) - {subject.user_id}
    blind = {each for each in told if rounds.is_blind(session, each, case.id)}
    for user_id in sorted(told):
        notify(
            session,
            user_id,
            "mention",
            actor=subject.name,
            project_id=case.project_id,
            case_id=case.id,
            text=LATER if user_id in blind else row.text,
            path=where,
        )
    _publish(session, case)


def _publish(session: Session, case: Case) -> None:
    publish(session, "comment", {"kind": "comment", "id": case.id, "case_id": case.id}, case.project_id)


def _own(session: Session, subject: Subject, comment_id: str) -> tuple[Comment, Case]:
    row = session.get(Comment, comment_id)
    if row is None:
        raise NotFound("There is no such comment.")
    try:
        case = cases.find(session, subject, row.case_id, "review")
    except NotFound:
        raise NotFound("There is no such comment.") from None
    if row.author_id != subject.user_id:
        raise Forbidden("Only its author changes a comment.")
    return row, case


def _members(session: Session, project_id: str) -> dict[str, str]:
    """Names of a project's people who can sign in, and their ids."""
    query = select(User.name, User.id).join(Membership, Membership.user_id == User.id)
    found = session.execute(query.where(Membership.project_id == project_id, User.disabled_at.is_(None)))
    return {row[0]: row[1] for row in found}


def _described(subject: Subject, row: Comment, author: str, mentions: list[str]) -> schemas.Comment:
    return schemas.Comment(
        id=row.id,
        case_id=row.case_id,
        index=row.image_index,
        author=author,
        text=row.text,
        mentions=mentions,
        at=row.at,
        edited_at=row.edited_at,
        is_mine=row.author_id == subject.user_id,
    )
