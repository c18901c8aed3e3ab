"""Learning from verdicts: a job fits the case's finding again with what the team has said."""

from __future__ import annotations

import json

from sqlalchemy.orm import Session

from orfila import columns
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.errors import Conflict
from orfila.identity.subject import Subject
from orfila.jobs import schemas as job_schemas
from orfila.jobs import service as jobs
from orfila.jobs.contracts import AffectedSpec, RefitSpec
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.review import repository
from orfila.storage import BlobStore


def refit(session: Session, subject: Subject, case_id: str) -> job_schemas.Job:
    """Submit the job. Without any verdict it brings the first finding back.

    Raises Conflict for a case that is archived, not scored, or learning already: two results would overtake each other.
    """
    case = cases.find(session, subject, case_id, "review")
    cases.require_open(case)
    found = {name: findings.file_of(case, name) for name in ("scores.parquet", "summary.json")}
    require_idle(session, case)
    model = session.get_one(ClassifierModel, case.model_id)
    said = decided(session, case.id)
    spec = RefitSpec(
        case_id=case.id,
        index_id=case.index_id,
        weights=model.sha256,
        card=models.card_of(model),
        pack=session.get_one(Dataset, case.dataset_id).files,
        affected=[AffectedSpec.model_validate(source) for source in case.sources],
        engine=case.engine,
        found=found,
        poison=sorted(i for i, is_poison in said.items() if is_poison),
        clean=sorted(i for i, is_poison in said.items() if not is_poison),
    )
    job = jobs.submit(
        session,
        kind="refit",
        project_id=case.project_id,
        subject_kind="case",
        subject_id=case.id,
        subject_name=case.name,
        spec=spec,
        # As for the investigation: EK-FAC would keep quick questions waiting.
        queue="gpu" if case.engine == "ekfac" else None,
        created_by=subject.user_id,
    )
    return jobs.described(session, job)


def require_idle(session: Session, case: Case, *, besides: str = "") -> None:
    """Refuse a second refit of a case while one (other than the job `besides`) is not over."""
    if jobs.is_active(session, "refit", case.id, besides=besides):
        raise Conflict("The case is learning from verdicts already; ask again when that is done.", code="case_learning")


def decided(session: Session, case_id: str) -> dict[int, bool]:
    """Image -> whether the team calls it poison. Where it is unsure, or of two minds, there is nothing to learn."""
    return {i: said == "poison" for i, said in repository.effective(session, case_id).items() if said != "unsure"}


def n_to_learn(session: Session, store: BlobStore, case: Case) -> int:
    """Images of which the team says something else now than when the finding last learned."""
    now, learned = decided(session, case.id), _learned(store, case)
    return sum(now.get(i) != learned.get(i) for i in now.keys() | learned.keys())


def _learned(store: BlobStore, case: Case) -> dict[int, bool]:
    digest = case.files.get("verdicts.json")
    if digest is None:
        return {}
    content = columns.json_file(store, digest)
    return dict.fromkeys(content["poison"], True) | dict.fromkeys(content["clean"], False)


def as_json(poison: list[int], clean: list[int]) -> str:
    """Content of verdicts.json."""
    return json.dumps({"poison": poison, "clean": clean})
