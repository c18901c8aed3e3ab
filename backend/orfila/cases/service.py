"""Rules of cases: opening, estimating, renaming, archiving, and what becomes of them when jobs end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from orfila import __version__, columns
from orfila.audit.service import record
from orfila.cases import affected, early, repository, schemas
from orfila.cases.models import Case
from orfila.datasets import service as datasets
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.errors import Conflict, Unprocessable
from orfila.events import publish
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.indexes import service as indexes
from orfila.jobs import service as jobs
from orfila.jobs.contracts import InvestigateResult, InvestigateSpec, RefitResult
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.projects.access import Permission, require, require_of
from orfila.projects.listing import page_of
from orfila.review import estimates
from orfila.review import repository as verdicts
from orfila.schema_base import Page
from orfila.settings import Settings
from orfila.storage import BlobStore


def find(session: Session, subject: Subject, case_id: str, permission: Permission = "read") -> Case:
    """A case that the subject may see."""
    case = session.get(Case, case_id)
    require_of(session, subject, case.project_id if case else None, permission, "case")
    assert case is not None, "require_of raises for an absent object"
    return case


def require_open(case: Case) -> None:
    """Refuse changes of an archived case."""
    if case.state == "archived":
        raise Conflict("The case is archived; restore it first.", code="case_archived")


def list_cases(
    session: Session,
    subject: Subject,
    store: BlobStore,
    project_id: str,
    state: schemas.CaseState | None,
    cursor: str | None,
    limit: int,
) -> Page[schemas.Case]:
    """A page of a project's cases, newest first."""
    where = [] if state is None else [Case.state == state]
    return page_of(session, subject, Case, project_id, lambda c: described(session, store, c), cursor, limit, *where)


@dataclass(frozen=True)
class _Plan:
    model: ClassifierModel
    dataset: Dataset
    affected: list[affected.Resolved]


def _plan(session: Session, subject: Subject, store: BlobStore, project_id: str, body: schemas.CaseCreate) -> _Plan:
    require(session, subject, project_id, "write")
    model = models.find_ready(session, subject, body.model_id)
    if model.project_id != project_id:
        raise Unprocessable("The model belongs to another project; choose one of this project.")
    dataset = session.get_one(Dataset, model.dataset_id)
    models.require_whole(dataset)
    models.check_fits(models.card_of(model), dataset)
    triggered = None
    if body.triggered_dataset_id is not None:
        triggered = datasets.find_ready(session, subject, body.triggered_dataset_id)
        shapes = [(d.height, d.width, d.channels) for d in (triggered, dataset)]
        unknown = sorted(set(triggered.classes) - set(dataset.classes))
        if shapes[0] != shapes[1] or unknown:
            raise Unprocessable(
                f"The triggered images have the class '{unknown[0]}', which the data set has not; name classes alike."
                if unknown
                else "The triggered images differ in size or channels from the data set's; give such images.",
                code="triggered_set_differs",
            )
    resolved = affected.resolve(
        session, subject, store, dataset, models.predictions_of(store, model), triggered, body.affected
    )
    affected.one_symptom(resolved, dataset.classes)
    return _Plan(model, dataset, resolved)


def estimate(
    session: Session, subject: Subject, store: BlobStore, project_id: str, body: schemas.CaseCreate
) -> schemas.CaseEstimate:
    """What the case would cost, from what earlier ones took. Nothing is stored."""
    plan = _plan(session, subject, store, project_id, body)
    index = indexes.find(session, plan.model, plan.dataset)
    ready = index is not None and index.state == "ready"
    scoring = repository.seconds_per_image(session, project_id, body.engine)
    indexing = 0.0 if ready else indexes.seconds_per_image(session, project_id)
    known = scoring is not None and indexing is not None
    seconds = ((scoring or 0) + (indexing or 0)) * plan.dataset.n_train if known else None
    notes = []
    for image in (r.image for r in plan.affected):
        if image.note:
            notes.append(f"{image.name}: {image.note}.")
        if image.predicted is not None and image.predicted == image.true_label:
            notes.append(f"{image.name}: the model gets this image right; there may be nothing to explain.")
    return schemas.CaseEstimate(
        index_ready=ready, seconds=seconds, predictions=[r.image.predicted for r in plan.affected], notes=notes
    )


def create(
    session: Session,
    subject: Subject,
    settings: Settings,
    store: BlobStore,
    project_id: str,
    body: schemas.CaseCreate,
) -> schemas.Case:
    """Open a case: its investigation waits for the fingerprint index, which is built unless it is there."""
    plan = _plan(session, subject, store, project_id, body)
    index = indexes.ensure(session, settings, plan.model, plan.dataset, subject.user_id)
    case = Case(
        id=new_id(),
        project_id=project_id,
        number=repository.next_number(session, project_id),
        name=body.name,
        state="scoring",
        model_id=plan.model.id,
        dataset_id=plan.dataset.id,
        triggered_dataset_id=body.triggered_dataset_id,
        index_id=index.id,
        n_queries=body.n_queries,
        seed=body.seed,
        suspects=body.suspects,
        engine=body.engine,
        rule=body.rule,
        created_by=subject.user_id,
        sources=[r.spec.model_dump(mode="json") for r in plan.affected],
        affected=[r.image.model_dump(mode="json") for r in plan.affected],
    )
    session.add(case)
    session.flush()
    spec = InvestigateSpec(
        case_id=case.id,
        index_id=index.id,
        weights=plan.model.sha256,
        card=models.card_of(plan.model),
        pack=plan.dataset.files,
        affected=[r.spec for r in plan.affected],
        n_queries=body.n_queries,
        seed=body.seed,
        suspects=body.suspects,
        engine=body.engine,
        rule=body.rule,
    )
    stages = [jobs.Stage()]
    if body.engine == "ekfac":
        phases = indexes.ekfac_phases(settings, index, plan.dataset)
        spec.phases, stages = list(phases), list(phases.values())
    job = jobs.submit(
        session,
        kind="investigate",
        project_id=project_id,
        subject_kind="case",
        subject_id=case.id,
        subject_name=case.name,
        spec=spec,
        stages=stages,
        # EK-FAC takes minutes: it must not keep quick questions waiting.
        queue="gpu" if body.engine == "ekfac" else None,
        depends_on=[index.job_id] if index.state == "building" and index.job_id else [],
        created_by=subject.user_id,
    )
    case.job_id = job.id
    if index.state == "ready" and body.engine == "ekfac":
        early.look(session, case, ())
    record(
        session,
        subject.name,
        "case.opened",
        "case",
        case.id,
        project_id,
        {
            "name": body.name,
            "model": plan.model.id,
            "model_sha256": plan.model.sha256,
            "data_digest": plan.dataset.digest,
            "affected": [r.spec.name for r in plan.affected],
            "n_queries": body.n_queries,
            "seed": body.seed,
            "engine": body.engine,
            "rule": body.rule,
        },
        case_id=case.id,
    )
    tell(session, case)
    return described(session, store, case)


def update(
    session: Session, subject: Subject, store: BlobStore, case_id: str, body: schemas.CaseUpdate
) -> schemas.Case:
    """Rename; archive or restore."""
    case = find(session, subject, case_id, "write")
    if body.name is not None and body.name != case.name:
        record(
            session, subject.name, "case.renamed", "case", case.id, case.project_id,
            {"from": case.name, "to": body.name}, case_id=case.id,
        )  # fmt: skip
        case.name = body.name
    if body.archived is True and case.state != "archived":
        if case.state in ("scoring", "repairing"):
            raise Conflict("A job of this case is running; cancel it or wait.", code="case_busy")
        case.state_before_archive, case.state = case.state, "archived"
        record(session, subject.name, "case.archived", "case", case.id, case.project_id, {}, case_id=case.id)
    elif body.archived is False and case.state == "archived":
        case.state, case.state_before_archive = case.state_before_archive or "in_review", None
        record(session, subject.name, "case.restored", "case", case.id, case.project_id, {}, case_id=case.id)
    tell(session, case)
    return described(session, store, case)


def scored(session: Session, case: Case, result: InvestigateResult) -> None:
    """The investigation is stored: the case has a finding."""
    case.files = dict(result.files)
    if result.ekfac is not None:
        indexes.keep_ekfac(session, case.index_id, result.ekfac)
    case.affected = [a.model_dump(mode="json") for a in result.affected]
    case.finding = result.finding.model_dump(mode="json")
    case.result_digest = _digest(session, case, result.finding)
    case.state, case.error, case.early = "in_review", None, None
    record(
        session, "worker", "case.scored", "case", case.id, case.project_id,
        {"evidence": result.finding.evidence, "n_flagged": result.finding.n_flagged, "digest": case.result_digest},
        case_id=case.id,
    )  # fmt: skip
    tell(session, case)


def refitted(session: Session, case: Case, result: RefitResult) -> None:
    """The finding has learned from verdicts; everything that they do not change stays."""
    case.files = dict(case.files) | result.files
    case.finding = result.finding.model_dump(mode="json")
    case.result_digest = _digest(session, case, result.finding)
    record(
        session, "worker", "case.refitted", "case", case.id, case.project_id,
        {
            "n_verdicts": result.finding.parameters["n_confirmed"],
            "n_flagged": result.finding.n_flagged,
            "verdicts": result.files["verdicts.json"],
            "digest": case.result_digest,
        },
        case_id=case.id,
    )  # fmt: skip
    tell(session, case)


def _digest(session: Session, case: Case, finding: schemas.Finding) -> str:
    """Names a result: everything that it follows from, and the scores themselves."""
    model = session.get_one(ClassifierModel, case.model_id)
    basis: list[Any] = [
        model.sha256,
        model.card,
        session.get_one(Dataset, case.dataset_id).digest,
        case.sources,
        case.n_queries,
        case.seed,
        case.suspects,
        case.engine,
        case.rule,
        finding.parameters,
        finding.engine,
        __version__,
        case.files.get("scores.parquet"),
    ]
    if "verdicts.json" in case.files:
        basis.append(case.files["verdicts.json"])
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()


def scoring_failed(session: Session, case: Case, sentence: str) -> None:
    """The investigation, or the index that it needs, failed."""
    case.state, case.error, case.early = "failed", sentence, None
    record(session, "worker", "case.failed", "case", case.id, case.project_id, {"error": sentence}, case_id=case.id)
    tell(session, case)


def scoring_retried(session: Session, case: Case) -> None:
    """Its job runs again."""
    case.state, case.error = "scoring", None
    tell(session, case)


def described(session: Session, store: BlobStore, case: Case) -> schemas.Case:
    """A case as clients see it; its finding says what review has shown so far."""
    n_judged = verdicts.n_judged(session, case.id)
    found = ("n_judged", "finding", "drill_id")
    fields = {name: getattr(case, name) for name in schemas.Case.model_fields if name not in found}
    fields["created_by"] = session.get_one(User, case.created_by).name
    fields["drill_id"] = session.get_one(ClassifierModel, case.model_id).drill_id
    finding = schemas.Finding.model_validate(case.finding) if case.finding else None
    if finding is not None and n_judged:
        finding = _reviewed(session, store, case, finding, n_judged)
    return schemas.Case.model_validate(fields | {"n_judged": n_judged, "finding": finding})


def _reviewed(
    session: Session, store: BlobStore, case: Case, finding: schemas.Finding, n_judged: int
) -> schemas.Finding:
    scores = columns.scores(store, case.files["scores.parquet"])
    said = verdicts.effective(session, case.id)
    precision = estimates.precision(scores, said)
    recall = estimates.recall(scores, said)
    sentence = f"{finding.sentence.rstrip('.')}; {n_judged:,} reviewed"
    decided = any(scores.flags["flagged"][i] and v != "unsure" for i, v in said.items())
    if decided and precision.value is not None and precision.low is not None and precision.high is not None:
        sentence += f", precision {precision.value:.2f} (95 % interval {precision.low:.2f}\u2013{precision.high:.2f})"
    return finding.model_copy(update={"sentence": sentence + ".", "precision": precision, "recall": recall})


def tell(session: Session, case: Case) -> None:
    """Publish where a case stands."""
    publish(session, "case", {"kind": "case", "id": case.id, "case_id": case.id, "state": case.state}, case.project_id)
