"""HTTP of cases: opening, scores, evidence, pictures."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from orfila import pictures
from orfila.cases import affected, beside, early, evidence, findings, portraits, related, schemas, service
from orfila.datasets import images
from orfila.datasets.models import Dataset
from orfila.errors import NotFound
from orfila.idempotency.service import once
from orfila.jobs.contracts import AffectedSpec
from orfila.review import repository as verdicts
from orfila.schema_base import Page
from orfila.web import files
from orfila.web.dependencies import Cursor, IdempotencyKey, Limit, SessionDep, SettingsDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["cases"])

Probability = Annotated[float | None, Query(ge=0, le=1)]


@router.get("/projects/{project_id}/cases")
def list_cases(
    project_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    state: schemas.CaseState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[schemas.Case]:
    """A project's cases, newest first."""
    return service.list_cases(session, subject, store, project_id, state, cursor, limit)


@router.post("/projects/{project_id}/cases", status_code=201)
def create_case(
    project_id: str,
    body: schemas.CaseCreate,
    session: SessionDep,
    subject: SubjectDep,
    settings: SettingsDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Case:
    """Open a case; its investigation starts as soon as the fingerprint index is there."""
    return once(
        session, subject, idempotency_key, f"create_case/{project_id}", body, schemas.Case,
        lambda: service.create(session, subject, settings, store, project_id, body),
    )  # fmt: skip


@router.post("/projects/{project_id}/cases/estimate")
def estimate_case(
    project_id: str, body: schemas.CaseCreate, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.CaseEstimate:
    """What such a case would cost, and what to know before it starts. Nothing is stored."""
    return service.estimate(session, subject, store, project_id, body)


@router.get("/cases/{case_id}")
def get_case(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> schemas.Case:
    """One case."""
    return service.described(session, store, service.find(session, subject, case_id))


@router.patch("/cases/{case_id}")
def update_case(
    case_id: str, body: schemas.CaseUpdate, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.Case:
    """Rename; archive or restore."""
    return service.update(session, subject, store, case_id, body)


@router.get("/cases/{case_id}/early")
def get_early_look(case_id: str, session: SessionDep, subject: SubjectDep) -> schemas.EarlyLook | None:
    """What the training images say that are looked at so far, while a case is being scored; null before and after."""
    return early.of(service.find(session, subject, case_id))


@router.get("/cases/{case_id}/related")
def list_related(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> list[schemas.RelatedCase]:
    """Other cases that flag some of the same training images, those that share the most first."""
    return related.related(session, store, service.find(session, subject, case_id))


@router.get("/cases/{case_id}/beside/{other_id}")
def get_beside(
    case_id: str, other_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.CasesBeside:
    """Two cases side by side: which images both flag, how their scores agree, what was asked differently."""
    one, other = (service.find(session, subject, each) for each in (case_id, other_id))
    return beside.beside(session, store, one, other)


@router.get("/cases/{case_id}/scores")
def list_scores(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    sort: evidence.ScoreKey = "posterior",
    order: Literal["asc", "desc"] = "desc",
    label: int | None = None,
    flagged: bool | None = None,
    suspect: bool | None = None,
    verdict: evidence.VerdictFilter | None = None,
    min_posterior: float | None = None,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> Page[schemas.ScoreRow]:
    """Training images with their scores; `verdict=none` means not judged."""
    case = service.find(session, subject, case_id)
    wanted = evidence.ScoreFilter(sort, order, label, flagged, suspect, verdict, min_posterior)
    return evidence.page(store, case, verdicts.effective(session, case_id), wanted, cursor, limit)


@router.get("/cases/{case_id}/columns")
def score_columns(
    case_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    names: Annotated[
        list[schemas.ScoreColumnName] | None, Query(description="Only these; a column of a million images has 4 MB.")
    ] = None,
) -> schemas.ScoreColumns:
    """Scores as columns, for filters, sorting and thresholds in the browser."""
    return evidence.as_columns(store, service.find(session, subject, case_id), names)


@router.get("/cases/{case_id}/flagged.csv", response_class=Response, responses=files.described("text/csv"))
def download_flagged(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> Response:
    """path,index,label,score,posterior,verdict of the flagged images, best first."""
    case = service.find(session, subject, case_id)
    classes = session.get_one(Dataset, case.dataset_id).classes
    text = evidence.flagged_csv(store, case, verdicts.effective(session, case_id), classes)
    return files.download(text, f"case-{case.number}-flagged.csv", "text/csv; charset=utf-8")


@router.get(
    "/cases/{case_id}/scores.parquet",
    response_class=FileResponse,
    responses=files.described("application/octet-stream"),
)
def download_scores(case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> FileResponse:
    """Every training image's scores."""
    case = service.find(session, subject, case_id)
    path = store.local_path(findings.file_of(case, "scores.parquet"))
    return files.download_file(path, f"case-{case.number}-scores.parquet")


@router.get("/cases/{case_id}/evidence/{index}")
def get_evidence(
    case_id: str, index: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.Evidence:
    """Why one training image is, or is not, flagged."""
    case = service.find(session, subject, case_id)
    classes = session.get_one(Dataset, case.dataset_id).classes
    return evidence.of_image(store, case, verdicts.effective(session, case_id), index, classes)


@router.get("/cases/{case_id}/affected/{number}.png", response_class=Response, responses=files.described("image/png"))
def get_affected_pixels(
    case_id: str, number: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> Response:
    """An affected image as the model sees it."""
    case = service.find(session, subject, case_id)
    if not 0 <= number < len(case.sources):
        raise NotFound(f"The case has {len(case.sources)} affected images, counted from 0.")
    spec = AffectedSpec.model_validate(case.sources[number])
    return files.picture(pictures.png(affected.pixels(store, session.get_one(Dataset, case.dataset_id), spec)))


@router.get(
    "/cases/{case_id}/affected/{number}/queries/{query}.png",
    response_class=Response,
    responses=files.described("image/png"),
)
def get_query_pixels(
    case_id: str, number: int, query: int, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> Response:
    """The transformed affected image of a query, counted from 0 as in the evidence."""
    shown = findings.query_images(store, service.find(session, subject, case_id))
    if not (0 <= number < len(shown) and 0 <= query < shown.shape[1] - 1):
        raise NotFound(f"There are {len(shown)} affected images with {shown.shape[1] - 1} queries each, from 0.")
    return files.picture(pictures.png(np.asarray(shown[number, query + 1])))


@router.get("/cases/{case_id}/portraits/{name}.png", response_class=Response, responses=files.described("image/png"))
def get_portrait(
    case_id: str,
    name: portraits.PortraitName,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    threshold: Probability = None,
) -> Response:
    """What the flagged images share. `threshold` is of the posterior; without it, the automatic set is drawn."""
    case = service.find(session, subject, case_id)
    scores = findings.scores(store, case)
    chosen = scores.flags["flagged"] if threshold is None else scores.flags["suspect"] & (scores.posterior > threshold)
    labels = np.unique(scores.label[chosen])
    others = np.isin(scores.label, labels) & ~chosen
    pixels = images.pixels_of(store, session.get_one(Dataset, case.dataset_id))
    data = portraits.draw(name, pixels, np.flatnonzero(chosen), np.flatnonzero(others))
    return files.picture(data, immutable=False)
