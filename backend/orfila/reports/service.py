"""What a report holds."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.audit.models import AuditEvent
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.db import now
from orfila.identity.subject import Subject
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.remedies import service as remedies
from orfila.reports import schemas
from orfila.review import repository as verdicts
from orfila.review import service as review
from orfila.rounds import service as rounds
from orfila.storage import BlobStore


def report(session: Session, subject: Subject, store: BlobStore, case_id: str) -> schemas.Report:
    """Everything that is known of a case now. Raises Conflict while it has no finding."""
    case = cases.find(session, subject, case_id)
    findings.file_of(case, "scores.parquet")
    dataset = session.get_one(Dataset, case.dataset_id)
    model = session.get_one(ClassifierModel, case.model_id)
    agreed = rounds.with_controls(session, subject, case_id, review.agreed(session, subject, case_id))
    return schemas.Report(
        made_at=now(),
        version=version("orfila"),
        case=cases.described(session, store, case),
        dataset=schemas.ReportedData.model_validate(dataset),
        model=schemas.ReportedModel(
            id=model.id,
            name=model.name,
            sha256=model.sha256,
            card=models.card_of(model),
            accuracy_test=model.accuracy_test,
        ),
        flagged=_flagged(session, store, case),
        review=review.progress(session, subject, store, case_id),
        agreement=agreed,
        remedies=remedies.list_remedies(session, subject, case_id),
        files=dict(sorted(case.files.items())),
        audit=_audit(session, case),
    )


def _flagged(session: Session, store: BlobStore, case: Case) -> list[schemas.FlaggedImage]:
    scores = findings.scores(store, case)
    said = verdicts.effective(session, case.id)
    return [
        schemas.FlaggedImage(
            index=i,
            name=scores.names[i].as_py(),
            label=int(scores.label[i]),
            posterior=float(scores.posterior[i]),
            collapse_score=float(scores.numbers["collapse_score"][i]),
            verdict=said.get(i),
        )
        for i in scores.surest_first(np.flatnonzero(scores.flags["flagged"])).tolist()
    ]


def _audit(session: Session, case: Case) -> schemas.AuditHead:
    last = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).one()
    of_case = select(func.count()).select_from(AuditEvent).where(AuditEvent.case_id == case.id)
    return schemas.AuditHead(
        n_events=session.scalar(select(func.count()).select_from(AuditEvent)) or 0,
        head=last.hash,
        n_of_case=session.scalar(of_case) or 0,
    )
