"""Early looks: a case that is being scored shows what the training images say that are done.

An index of many images is built in ranges. Each time about another fifth of them is done, the cases that wait for it
are looked at through these images. A look is a convenience: when it fails, or comes too late, nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.cases import schemas
from orfila.cases.models import Case
from orfila.jobs import service as jobs
from orfila.jobs.contracts import CaseQuestion, EarlyLookResult, EarlyLookSpec, IndexShardResult, InvestigateSpec
from orfila.jobs.models import Job, Shard

LOOKS = 5
"""Parts that an index is divided into; the last one is the finding itself."""
MAX_CASES = 4
"""Looked at each time, the newest first."""


def range_done(session: Session, job: Job) -> None:
    """A range of an index is projected, and others are not: look again if a further fifth of them is done."""
    if job.stage != 0:
        return
    states = dict(
        session.execute(
            select(Shard.state, func.count()).where(Shard.job_id == job.id, Shard.stage == 0).group_by(Shard.state)
        ).all()
    )
    done, n = states.get("succeeded", 0), sum(states.values())
    if LOOKS * done // n == LOOKS * (done - 1) // n:
        return
    cases = _waiting(session, job.spec["index_id"])
    if not cases:
        return
    results = session.scalars(
        select(Shard.result)
        .where(Shard.job_id == job.id, Shard.stage == 0, Shard.state == "succeeded")
        .order_by(Shard.number)
    )
    parts = [IndexShardResult.model_validate(result) for result in results]
    for case in cases:
        look(session, case, parts)


def index_built(session: Session, index_id: str) -> None:
    """The index is whole: a case that EK-FAC will keep waiting for minutes is looked at through it."""
    for case in _waiting(session, index_id):
        if case.engine == "ekfac":
            look(session, case, ())


def look(session: Session, case: Case, parts: Sequence[IndexShardResult]) -> None:
    """Submit a look at a case, unless one is on its way. parts: ranges that are done; none: through the whole index."""
    if jobs.is_active(session, "early_look", case.id):
        return
    # As the investigation that is to come asks it.
    asked = InvestigateSpec.model_validate(session.get_one(Job, case.job_id).spec)
    jobs.submit(
        session,
        kind="early_look",
        project_id=case.project_id,
        subject_kind="case",
        subject_id=case.id,
        subject_name=case.name,
        spec=EarlyLookSpec(parts=list(parts), **{name: getattr(asked, name) for name in CaseQuestion.model_fields}),
        created_by=case.created_by,
    )


def looked(case: Case, result: EarlyLookResult) -> bool:
    """Keep what a look showed, unless the case has been scored meanwhile. Returns whether it was kept."""
    if result.look is None or case.state != "scoring":
        return False
    case.early = result.look.model_dump(mode="json")
    return True


def of(case: Case) -> schemas.EarlyLook | None:
    """What is to be seen of a case so far; None before the first look, and once it is scored."""
    return None if case.early is None else schemas.EarlyLook.model_validate(case.early)


def _waiting(session: Session, index_id: str) -> list[Case]:
    query = select(Case).where(Case.index_id == index_id, Case.state == "scoring").order_by(Case.created_at.desc())
    return list(session.scalars(query.limit(MAX_CASES)))
