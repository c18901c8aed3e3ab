"""Rules of checks: which cases a model is held against, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import runs
from orfila.audit.service import record
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.checks import schemas
from orfila.checks.models import RegressionCheck
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.errors import Conflict, NotFound
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import AffectedSpec, CaseCheckSpec, CheckResult, CheckSpec
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.projects.access import Permission, require_of
from orfila.remedies.models import Remedy
from orfila.talk import notify

CLOSED = ("verified", "regressed")
PSR_TOLERANCE = 0.01
LISTED = 50


def find(session: Session, subject: Subject, check_id: str, permission: Permission = "read") -> RegressionCheck:
    """A check that the subject may see."""
    check = session.get(RegressionCheck, check_id)
    require_of(session, subject, check.project_id if check else None, permission, "check")
    assert check is not None, "require_of raises for an absent object"
    return check


def list_checks(session: Session, subject: Subject, model_id: str) -> list[schemas.RegressionCheck]:
    """The last checks of a model, the newest first."""
    models.find(session, subject, model_id)
    query = select(RegressionCheck).where(RegressionCheck.model_id == model_id)
    rows = session.scalars(query.order_by(RegressionCheck.created_at.desc(), RegressionCheck.id).limit(LISTED))
    return [described(session, row) for row in rows]


def create(session: Session, subject: Subject, model_id: str, body: schemas.CheckCreate) -> schemas.RegressionCheck:
    """Start a check. Raises Conflict where no case is closed, NotFound for a case that is not one of the project."""
    model = models.find_ready(session, subject, model_id, "write")
    chosen = _chosen(session, model, body.case_ids)
    check = RegressionCheck(id=new_id(), project_id=model.project_id, model_id=model.id, created_by=subject.user_id)
    session.add(check)
    session.flush()
    job = jobs.submit(
        session,
        kind="check",
        project_id=model.project_id,
        subject_kind="model",
        subject_id=model.id,
        subject_name=model.name,
        spec=CheckSpec(
            check_id=check.id,
            weights=model.sha256,
            card=models.card_of(model),
            cases=[_spec(session, case) for case in chosen],
        ),
        created_by=subject.user_id,
    )
    check.job_id = job.id
    detail = {"model": model.id, "model_sha256": model.sha256, "cases": [case.id for case in chosen]}
    record(session, subject.name, "check.started", "check", check.id, model.project_id, detail)
    runs.tell(session, check)
    return described(session, check)


def succeeded(session: Session, check: RegressionCheck, result: CheckResult) -> None:
    """The model has answered. A case whose mistake is made again has regressed; one that holds again is verified."""
    outcome = result.outcome
    check.outcome = outcome.model_dump(mode="json")
    for answer in outcome.cases:
        case = session.get(Case, answer.case_id)
        if case is None or case.state not in CLOSED:
            continue  # deleted, archived or opened again meanwhile
        state = "verified" if answer.passed else "regressed"
        if case.state == state:
            continue
        case.state = state
        action = "case.held" if answer.passed else "case.regressed"
        detail = {"check": check.id, "model": check.model_id}
        record(session, "worker", action, "case", case.id, case.project_id, detail, case_id=case.id)
        if not answer.passed:
            notify(
                session,
                case.created_by,
                "regression",
                actor="worker",
                project_id=case.project_id,
                case_id=case.id,
                text=f"'{case.name}' has regressed: a model makes the mistake again.",
                path=f"/c/{case.id}",
            )
        cases.tell(session, case)
    failing = [answer.case_id for answer in outcome.cases if not answer.passed]
    runs.finished(session, check, passed=outcome.passed, failing=failing)


def described(session: Session, check: RegressionCheck) -> schemas.RegressionCheck:
    """A check as clients see it."""
    fields = {name: getattr(check, name) for name in schemas.RegressionCheck.model_fields if name != "created_by"}
    return schemas.RegressionCheck.model_validate(fields | {"created_by": session.get_one(User, check.created_by).name})


def _chosen(session: Session, model: ClassifierModel, wanted: Sequence[str] | None) -> list[Case]:
    query = select(Case).where(Case.project_id == model.project_id)
    if wanted is None:
        found = list(session.scalars(query.where(Case.state.in_(CLOSED)).order_by(Case.number)))
        if not found:
            raise Conflict(
                "No case of the project is closed yet; a case closes when a repair of its model is verified.",
                code="no_closed_case",
            )
        return found
    rows = {case.id: case for case in session.scalars(query.where(Case.id.in_(wanted)))}
    absent = next((case_id for case_id in wanted if case_id not in rows), None)
    if absent is not None:
        raise NotFound(f"There is no case {absent} in the model's project.")
    still_open = next((case for case in rows.values() if case.state not in CLOSED), None)
    if still_open is not None:
        raise Conflict(f"'{still_open.name}' is not closed; only verified cases are checked.", code="case_not_closed")
    return sorted(rows.values(), key=lambda case: case.number)


def _spec(session: Session, case: Case) -> CaseCheckSpec:
    assert case.finding is not None, "a closed case has a finding"
    dataset = session.get_one(Dataset, case.dataset_id)
    triggered = session.get(Dataset, case.triggered_dataset_id) if case.triggered_dataset_id else None
    return CaseCheckSpec(
        case_id=case.id,
        name=case.name,
        classes=dataset.classes,
        predicted=case.finding["predicted"],
        pack=dataset.files,
        affected=[AffectedSpec.model_validate(source) for source in case.sources],
        triggered_pack=triggered.files if triggered else None,
        psr_limit=_psr_limit(session, case) if triggered else None,
    )


def _psr_limit(session: Session, case: Case) -> float:
    query = select(Remedy.verification).where(Remedy.case_id == case.id, Remedy.state == "verified")
    left = [v["psr_after"] for v in session.scalars(query) if v and v.get("psr_after") is not None]
    return min(left, default=0.0) + PSR_TOLERANCE
