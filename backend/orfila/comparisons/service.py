"""Rules of comparisons: running other detectors on a case, and measuring all of them on what is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from orfila import columns, runs
from orfila.audit.service import record
from orfila.cases import findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.cases.schemas import Estimate
from orfila.comparisons import detectors, schemas
from orfila.comparisons.models import Comparison
from orfila.datasets.models import Dataset
from orfila.db import new_id
from orfila.drills import service as drills
from orfila.errors import Conflict
from orfila.identity.models import User
from orfila.identity.subject import Subject
from orfila.jobs import service as jobs
from orfila.jobs.contracts import AffectedSpec, CompareResult, CompareSpec
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.projects.access import Permission, require_of
from orfila.review import estimates
from orfila.review import repository as verdicts
from orfila.review.schemas import VerdictValue
from orfila.storage import BlobStore


def find(session: Session, subject: Subject, comparison_id: str, permission: Permission = "read") -> Comparison:
    """A comparison that the subject may see."""
    comparison = session.get(Comparison, comparison_id)
    require_of(session, subject, comparison.project_id if comparison else None, permission, "comparison")
    assert comparison is not None, "require_of raises for an absent object"
    return comparison


def list_comparisons(session: Session, subject: Subject, store: BlobStore, case_id: str) -> list[schemas.Comparison]:
    """A case's comparisons, newest first."""
    cases.find(session, subject, case_id)
    query = select(Comparison).where(Comparison.case_id == case_id)
    rows = session.scalars(query.order_by(Comparison.created_at.desc(), Comparison.id))
    return [described(session, store, c) for c in rows]


def create(
    session: Session, subject: Subject, store: BlobStore, case_id: str, body: schemas.ComparisonCreate
) -> schemas.Comparison:
    """Run detectors on a case that has a finding. Raises Conflict while it has none or another comparison runs."""
    case = cases.find(session, subject, case_id, "write")
    cases.require_open(case)
    findings.scores(store, case)
    assert case.finding is not None, "findings.scores raises while there is none"
    running = select(Comparison.id).where(Comparison.case_id == case_id, Comparison.state == "running").limit(1)
    if session.scalar(running) is not None:
        raise Conflict("Another comparison of this case is running; wait for it or cancel it.", code="comparison_busy")
    model = session.get_one(ClassifierModel, case.model_id)
    dataset = session.get_one(Dataset, case.dataset_id)
    comparison = Comparison(
        id=new_id(),
        project_id=case.project_id,
        case_id=case.id,
        detectors=detectors.chosen(body.detectors),
        created_by=subject.user_id,
    )
    session.add(comparison)
    session.flush()
    job = jobs.submit(
        session,
        kind="compare",
        project_id=case.project_id,
        subject_kind="case",
        subject_id=case.id,
        subject_name=case.name,
        spec=CompareSpec(
            comparison_id=comparison.id,
            index_id=case.index_id,
            weights=model.sha256,
            card=models.card_of(model),
            pack=dataset.files,
            affected=[AffectedSpec.model_validate(a) for a in case.sources],
            predicted=case.finding["predicted"],
            n_queries=case.n_queries,
            seed=case.seed,
            detectors=comparison.detectors,
        ),
        created_by=subject.user_id,
    )
    comparison.job_id = job.id
    record(
        session, subject.name, "comparison.started", "comparison", comparison.id, case.project_id,
        {"detectors": comparison.detectors}, case_id=case.id,
    )  # fmt: skip
    runs.tell(session, comparison)
    return described(session, store, comparison)


def succeeded(session: Session, comparison: Comparison, result: CompareResult) -> None:
    """Every detector has answered, or said why it cannot."""
    comparison.files = dict(result.files)
    comparison.outcome = result.summary
    runs.finished(session, comparison)


def file_of(comparison: Comparison, name: str) -> str:
    """Digest of one of the comparison's files. Raises Conflict while there is none."""
    if name not in comparison.files:
        raise Conflict(f"The comparison is {comparison.state} and has no result.", code="comparison_not_finished")
    digest: str = comparison.files[name]
    return digest


def described(session: Session, store: BlobStore, comparison: Comparison) -> schemas.Comparison:
    """A comparison as clients see it, measured on what is known now."""
    case = session.get_one(Case, comparison.case_id)
    known = _known(session, store, case)
    rows = _rows(store, case, comparison, known) if comparison.outcome is not None else []
    fields = ("id", "case_id", "detectors", "state", "error", "job_id", "created_at")
    return schemas.Comparison(
        **{name: getattr(comparison, name) for name in fields},
        created_by=session.get_one(User, comparison.created_by).name,
        basis=known.basis,
        n_known=known.n,
        rows=rows,
        shared_seconds=comparison.outcome["shared_seconds"] if comparison.outcome is not None else {},
    )


@dataclass(frozen=True)
class _Known:
    """What is known of the poison: all of it (a drill's truth), or what reviewers decided."""

    truth: NDArray[np.int32] | None
    said: Mapping[int, VerdictValue]

    @property
    def basis(self) -> schemas.Basis:
        return "truth" if self.truth is not None else "verdicts" if self.said else "none"

    @property
    def n(self) -> int:
        return len(self.truth) if self.truth is not None else len(self.said)

    def measure(self, flagged: NDArray[np.int32]) -> tuple[Estimate, Estimate]:
        """Precision and recall of a flagged set."""
        if self.truth is not None:
            hits = len(np.intersect1d(self.truth, flagged))
            method = f"{hits:,} of the {len(self.truth):,} planted images are among the {len(flagged):,} flagged."
            return _share(hits, len(flagged), method), _share(hits, len(self.truth), method)
        marked = set(flagged.tolist())
        judged = [v for i, v in self.said.items() if i in marked]
        poison = [i for i, v in self.said.items() if v == "poison"]
        found = sum(i in marked for i in poison)
        return (
            _interval(judged.count("poison"), len(judged), "of the flagged images with a verdict are poison"),
            _interval(found, len(poison), "of the images judged poison are flagged"),
        )


def _known(session: Session, store: BlobStore, case: Case) -> _Known:
    truth = drills.truth_of_model(session, store, case.model_id)
    if truth is not None and case.finding is not None:
        labels = findings.scores(store, case).label
        truth = truth[labels[truth] == case.finding["predicted"]]
    said = {i: v for i, v in verdicts.effective(session, case.id).items() if v != "unsure"}
    return _Known(truth, said)


def _rows(store: BlobStore, case: Case, comparison: Comparison, known: _Known) -> list[schemas.DetectorRow]:
    assert comparison.outcome is not None, "only finished comparisons have rows"
    scores = findings.scores(store, case)
    ours = np.flatnonzero(scores.flags["flagged"])
    flags = columns.comparison_flags(store, file_of(comparison, "comparison.parquet"))
    predicted = scores.label == comparison.outcome["predicted"]

    def measured(marked: NDArray[np.bool_]) -> schemas.Measured:
        flagged = np.flatnonzero(marked).astype(np.int32)
        precision, recall = known.measure(flagged)
        shared = len(np.intersect1d(ours, flagged))
        return schemas.Measured(n_flagged=len(flagged), n_shared=shared, precision=precision, recall=recall)

    rows = []
    for row in comparison.outcome["rows"]:
        marked = flags.get(row["detector"])
        rows.append(
            schemas.DetectorRow(
                **{k: row[k] for k in ("detector", "title", "source", "seconds", "note", "error")},
                all_classes=None if marked is None else measured(marked),
                label=None if marked is None else measured(marked & predicted),
            )
        )
    return rows


def _share(hits: int, n: int, method: str) -> Estimate:
    return Estimate(value=hits / n if n else None, low=None, high=None, method=method)


def _interval(hits: int, n: int, what: str) -> Estimate:
    if n == 0:
        return Estimate(value=None, low=None, high=None, method="No verdict says anything of it yet.")
    low, high = estimates.wilson(hits, n)
    return Estimate(value=hits / n, low=low, high=high, method=f"{hits:,} of {n:,} {what} (Wilson interval).")
