"""What the end of a job means to the thing that it was about.

Jobs call this in the transaction that ends them, so a finished job and its ready data set are seen together or not at
all. An index has no page of its own: when it fails, the cases that wait for it fail with it (jobs see to that).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sqlalchemy.orm import Session

from orfila import runs
from orfila.cases import early
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.checks import service as checks
from orfila.checks.models import RegressionCheck
from orfila.comparisons import service as comparisons
from orfila.comparisons.models import Comparison
from orfila.datasets import service as datasets
from orfila.datasets.models import Dataset
from orfila.drills import service as drills
from orfila.drills.models import Drill
from orfila.errors import NotFound
from orfila.indexes import service as indexes
from orfila.indexes.models import FingerprintIndex
from orfila.jobs.contracts import (
    CheckResult,
    CompareResult,
    ConversionResult,
    DrillResult,
    EarlyLookResult,
    IndexResult,
    IngestResult,
    InvestigateResult,
    MapResult,
    ModelCheckResult,
    RefitResult,
    RemedyResult,
    SweepResult,
)
from orfila.jobs.models import Job
from orfila.maps import service as maps
from orfila.maps.models import FingerprintMap
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.remedies import service as remedies
from orfila.remedies.models import Remedy
from orfila.review import learning
from orfila.runs import Run
from orfila.storage import BlobStore
from orfila.sweeps import service as sweeps
from orfila.sweeps.models import Sweep
from orfila.uploads import conversion
from orfila.uploads.models import Upload

CANCELLED = "It was cancelled; run its job again, or start over."


class Outcome(ABC):
    """The end of one kind of job."""

    @abstractmethod
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        """Take the result over."""

    @abstractmethod
    def failed(self, session: Session, job: Job, sentence: str) -> None:
        """Say what went wrong."""

    def cancelled(self, session: Session, job: Job) -> None:
        """Somebody stopped it."""
        self.failed(session, job, CANCELLED)

    @abstractmethod
    def restarted(self, session: Session, job: Job) -> None:
        """A failed or cancelled job runs again."""

    def advanced(self, session: Session, job: Job) -> None:  # noqa: B027  most kinds show nothing before their end
        """A shard is done, and others of its stage are not."""


class _Ingest(Outcome):
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        datasets.ingested(session, session.get_one(Dataset, job.subject_id), IngestResult.model_validate(result))

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        datasets.ingest_failed(session, session.get_one(Dataset, job.subject_id), sentence)

    def restarted(self, session: Session, job: Job) -> None:
        dataset = session.get(Dataset, job.subject_id)
        if dataset is None:
            raise NotFound("The data set of this job was deleted; make it again from its upload.")
        datasets.ingest_retried(session, dataset)


class _Conversion(Outcome):
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        conversion.converted(session, session.get_one(Upload, job.subject_id), ConversionResult.model_validate(result))

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        conversion.failed(session, session.get_one(Upload, job.subject_id), sentence)

    def restarted(self, session: Session, job: Job) -> None:
        upload = session.get(Upload, job.subject_id)
        if upload is None:
            raise NotFound("The upload of this job was deleted; convert the file again.")
        conversion.retried(session, upload)


class _ModelCheck(Outcome):
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        model = session.get_one(ClassifierModel, job.subject_id)
        models.checked(session, model, ModelCheckResult.model_validate(result))

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        models.check_failed(session, session.get_one(ClassifierModel, job.subject_id), sentence)

    def restarted(self, session: Session, job: Job) -> None:
        models.check_retried(session, session.get_one(ClassifierModel, job.subject_id))


class _Index(Outcome):
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        indexes.built(session, self._index(session, job), IndexResult.model_validate(result))
        early.index_built(session, job.spec["index_id"])

    def advanced(self, session: Session, job: Job) -> None:
        early.range_done(session, job)

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        indexes.gave_up(session, self._index(session, job))

    def restarted(self, session: Session, job: Job) -> None:
        indexes.retried(session, self._index(session, job))

    @staticmethod
    def _index(session: Session, job: Job) -> FingerprintIndex:
        return session.get_one(FingerprintIndex, job.spec["index_id"])


class _Investigate(Outcome):
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        cases.scored(session, session.get_one(Case, job.subject_id), InvestigateResult.model_validate(result))

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        cases.scoring_failed(session, session.get_one(Case, job.subject_id), sentence)

    def restarted(self, session: Session, job: Job) -> None:
        cases.scoring_retried(session, session.get_one(Case, job.subject_id))


class _EarlyLook(Outcome):
    """An early look: the case goes its way whatever becomes of it."""

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        case = session.get_one(Case, job.subject_id)
        if early.looked(case, EarlyLookResult.model_validate(result)):
            cases.tell(session, case)

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        pass

    def restarted(self, session: Session, job: Job) -> None:
        pass


class _Refit(Outcome):
    """The case stays as it was until the job has succeeded, and when it has not."""

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        cases.refitted(session, session.get_one(Case, job.subject_id), RefitResult.model_validate(result))

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        cases.tell(session, session.get_one(Case, job.subject_id))

    def restarted(self, session: Session, job: Job) -> None:
        case = session.get_one(Case, job.subject_id)
        cases.require_open(case)
        learning.require_idle(session, case, besides=job.id)


class _Remedy(Outcome):
    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        remedy = session.get_one(Remedy, job.subject_id)
        remedies.succeeded(session, store, remedy, RemedyResult.model_validate(result))

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        remedies.failed(session, session.get_one(Remedy, job.subject_id), sentence)

    def cancelled(self, session: Session, job: Job) -> None:
        remedies.cancelled(session, session.get_one(Remedy, job.subject_id))

    def restarted(self, session: Session, job: Job) -> None:
        remedies.restarted(session, session.get_one(Remedy, job.subject_id))


class _Run(Outcome):
    """Of drills, sweeps, comparisons, maps and checks, which differ in what they make of a result."""

    @abstractmethod
    def run(self, session: Session, job: Job) -> Run:
        """The row that the job is about."""

    def failed(self, session: Session, job: Job, sentence: str) -> None:
        runs.failed(session, self.run(session, job), sentence)

    def cancelled(self, session: Session, job: Job) -> None:
        runs.cancelled(session, self.run(session, job))

    def restarted(self, session: Session, job: Job) -> None:
        runs.restarted(session, self.run(session, job))


class _Drill(_Run):
    def run(self, session: Session, job: Job) -> Drill:
        return session.get_one(Drill, job.subject_id)

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        drills.succeeded(session, store, self.run(session, job), DrillResult.model_validate(result))


class _Sweep(_Run):
    def run(self, session: Session, job: Job) -> Sweep:
        return session.get_one(Sweep, job.subject_id)

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        sweeps.succeeded(session, self.run(session, job), SweepResult.model_validate(result))


class _Compare(_Run):
    def run(self, session: Session, job: Job) -> Comparison:
        return session.get_one(Comparison, job.spec["comparison_id"])

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        comparisons.succeeded(session, self.run(session, job), CompareResult.model_validate(result))


class _Check(_Run):
    def run(self, session: Session, job: Job) -> RegressionCheck:
        return session.get_one(RegressionCheck, job.spec["check_id"])

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        checks.succeeded(session, self.run(session, job), CheckResult.model_validate(result))


class _Map(_Run):
    def run(self, session: Session, job: Job) -> FingerprintMap:
        return session.get_one(FingerprintMap, job.spec["map_id"])

    def succeeded(self, session: Session, store: BlobStore, job: Job, result: dict[str, Any]) -> None:
        maps.succeeded(session, self.run(session, job), MapResult.model_validate(result))


OUTCOMES: dict[str, Outcome] = {
    "ingest": _Ingest(),
    "conversion": _Conversion(),
    "model_check": _ModelCheck(),
    "index": _Index(),
    "investigate": _Investigate(),
    "early_look": _EarlyLook(),
    "refit": _Refit(),
    "remedy": _Remedy(),
    "drill": _Drill(),
    "compare": _Compare(),
    "check": _Check(),
    "map": _Map(),
    "sweep": _Sweep(),
}
