"""HTTP of reports and of what other tools read."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from orfila.audit import service as audit
from orfila.cases import affected, findings
from orfila.cases import service as cases
from orfila.cases.models import Case
from orfila.datasets import images
from orfila.datasets.models import Dataset
from orfila.figures import build
from orfila.identity.subject import Subject
from orfila.indexes.models import FingerprintIndex
from orfila.jobs.contracts import AffectedSpec
from orfila.models.models import ClassifierModel
from orfila.reports import bundle, exports, page, printing, schemas, service
from orfila.review import repository as verdicts
from orfila.storage import BlobStore
from orfila.web import files
from orfila.web.dependencies import SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["reports"])
_CSP = {"content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"}


@router.get("/cases/{case_id}/report")
def get_report(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> schemas.Report:
    """Everything that is known of a case: finding, flagged images, review, repairs, digests, audit head."""
    return service.report(session, subject, store, case_id)


@router.get(
    "/cases/{case_id}/report.html", response_class=HTMLResponse, responses=files.described("text/html; charset=utf-8")
)
def get_report_page(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    download: Annotated[bool, Query(description="To be saved instead of shown.")] = False,
) -> Response:
    """The same for people: one file that opens without network and prints well."""
    case, report = _found(session, subject, store, case_id)
    text = _page(session, store, case, report)
    if download:
        return files.download(text, f"case-{case.number}-report.html", "text/html; charset=utf-8")
    return HTMLResponse(text, headers=_CSP | {"cache-control": "no-store"})


@router.get("/cases/{case_id}/report.pdf", response_class=Response, responses=files.described("application/pdf"))
def get_report_pdf(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> Response:
    """The same on paper, printed by Chromium; refused with `no_printer` where the server has none."""
    case, report = _found(session, subject, store, case_id)
    data = printing.as_pdf(_page(session, store, case, report))
    return files.download(data, f"case-{case.number}-report.pdf", "application/pdf")


@router.get(
    "/cases/{case_id}/bundle.zip", response_class=StreamingResponse, responses=files.described("application/zip")
)
def download_bundle(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> StreamingResponse:
    """What the finding rests on: data, model, affected images, scores, report; `orfila verify-bundle` runs it again."""
    case, report = _found(session, subject, store, case_id)
    parts = bundle.Parts(
        case,
        session.get_one(Dataset, case.dataset_id),
        session.get_one(ClassifierModel, case.model_id),
        session.get_one(FingerprintIndex, case.index_id),
        report,
        _page(session, store, case, report),
        "".join(audit.export(session, case_id=case.id)),
    )
    return files.stream(bundle.written(store, parts), f"case-{case.number}-bundle.zip", "application/zip")


@router.get("/cases/{case_id}/cleanlab.csv", response_class=Response, responses=files.described("text/csv"))
def download_cleanlab(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> Response:
    """The scores in the columns of cleanlab's label issues, one row for each training image."""
    case = cases.find(session, subject, case_id)
    text = exports.cleanlab_csv(findings.scores(store, case))
    return files.download(text, f"case-{case.number}-cleanlab.csv", "text/csv; charset=utf-8")


@router.get(
    "/cases/{case_id}/fiftyone.json", response_class=Response, responses={200: {"model": schemas.FiftyOneSamples}}
)
def download_fiftyone(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> Response:
    """The suspects with their scores and verdicts as FiftyOne samples."""
    case = cases.find(session, subject, case_id)
    dataset = session.get_one(Dataset, case.dataset_id)
    said = verdicts.effective(session, case_id)
    text = exports.fiftyone_json(findings.scores(store, case), said, dataset.classes, dataset.name)
    return files.download(text, f"case-{case.number}-fiftyone.json", "application/json")


def _found(session: Session, subject: Subject, store: BlobStore, case_id: str) -> tuple[Case, schemas.Report]:
    report = service.report(session, subject, store, case_id)
    return cases.find(session, subject, case_id), report


def _page(session: Session, store: BlobStore, case: Case, report: schemas.Report) -> str:
    dataset = session.get_one(Dataset, case.dataset_id)
    scores = findings.scores(store, case)
    flagged = scores.flags["flagged"]
    others = np.flatnonzero(np.isin(scores.label, np.unique(scores.label[flagged])) & ~flagged)
    shown = [affected.pixels(store, dataset, AffectedSpec.model_validate(source)) for source in case.sources]
    return page.written(report, shown, images.pixels_of(store, dataset), others, build.shift_histogram(scores))
