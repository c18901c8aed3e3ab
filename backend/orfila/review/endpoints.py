"""HTTP of verdicts and review progress."""

from typing import Annotated

from fastapi import APIRouter, Query

from orfila.idempotency.service import once
from orfila.jobs import schemas as job_schemas
from orfila.review import learning, schemas, service
from orfila.rounds import service as rounds
from orfila.web.dependencies import IdempotencyKey, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["review"])


@router.get("/cases/{case_id}/verdicts")
def list_verdicts(case_id: str, session: SessionDep, subject: SubjectDep) -> list[schemas.Verdict]:
    """Every reviewer's current verdicts; one's own only, while one has images left to judge blind."""
    return service.list_verdicts(session, subject, case_id, own=rounds.is_blind(session, subject, case_id))


@router.post("/cases/{case_id}/verdicts")
def post_verdicts(
    case_id: str,
    body: schemas.VerdictsPost,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.VerdictsPosted:
    """Record one's own verdicts; `previous` in the answer undoes them."""
    return once(
        session, subject, idempotency_key, f"post_verdicts/{case_id}", body, schemas.VerdictsPosted,
        lambda: service.post(session, subject, store, case_id, body),
    )  # fmt: skip


@router.post("/cases/{case_id}/verdicts/undo")
def undo_verdicts(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.VerdictsRestored:
    """Take back what one gave last in one request, however many verdicts that were."""
    return once(
        session, subject, idempotency_key, f"undo_verdicts/{case_id}", None, schemas.VerdictsRestored,
        lambda: service.restore(session, subject, store, case_id),
    )  # fmt: skip


@router.post("/cases/{case_id}/verdicts/redo")
def redo_verdicts(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.VerdictsRestored:
    """Give again what was taken back last; not after a new verdict."""
    return once(
        session, subject, idempotency_key, f"redo_verdicts/{case_id}", None, schemas.VerdictsRestored,
        lambda: service.restore(session, subject, store, case_id, redo=True),
    )  # fmt: skip


@router.get("/cases/{case_id}/agreement")
def get_agreement(case_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Agreement:
    """How far reviewers agree beyond chance: kappa, alpha, confusion; time per image, and accuracy on controls."""
    return rounds.with_controls(session, subject, case_id, service.agreed(session, subject, case_id))


@router.get("/cases/{case_id}/review")
def get_review_progress(
    case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.ReviewProgress:
    """How far the review is, and what it says of the flagged set."""
    return service.progress(session, subject, store, case_id)


@router.get("/cases/{case_id}/review/next")
def get_next_images(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> schemas.NextImages:
    """What to judge next, the most informative first."""
    return service.next_images(session, subject, store, case_id, limit)


@router.post("/cases/{case_id}/refit", status_code=202)
def refit_case(case_id: str, session: SessionDep, subject: SubjectDep) -> job_schemas.Job:
    """Learn from the verdicts: scores, posteriors and the flagged set follow them, the evidence stays as measured.

    The job takes about a second. Without any verdict it brings the first finding back. While a case is learning a
    second request is refused, so that a repeated one does no harm.
    """
    return learning.refit(session, subject, case_id)
