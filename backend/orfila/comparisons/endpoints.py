"""HTTP of comparisons."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from orfila.comparisons import detectors, schemas, service
from orfila.idempotency.service import once
from orfila.web import files
from orfila.web.dependencies import IdempotencyKey, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["comparisons"])


@router.get("/detectors")
def list_detectors() -> list[schemas.Detector]:
    """Detectors that a comparison can run."""
    return detectors.offered()


@router.get("/cases/{case_id}/comparisons")
def list_comparisons(
    case_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> list[schemas.Comparison]:
    """A case's comparisons, newest first, measured on what is known now."""
    return service.list_comparisons(session, subject, store, case_id)


@router.post("/cases/{case_id}/comparisons", status_code=201)
def create_comparison(
    case_id: str,
    body: schemas.ComparisonCreate,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Comparison:
    """Run other detectors on the affected images of a case."""
    return once(
        session, subject, idempotency_key, f"create_comparison/{case_id}", body, schemas.Comparison,
        lambda: service.create(session, subject, store, case_id, body),
    )  # fmt: skip


@router.get("/comparisons/{comparison_id}")
def get_comparison(comparison_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> schemas.Comparison:
    """One comparison."""
    return service.described(session, store, service.find(session, subject, comparison_id))


@router.get(
    "/comparisons/{comparison_id}/comparison.parquet",
    response_class=FileResponse,
    responses=files.described("application/octet-stream"),
)
def download_comparison(comparison_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> FileResponse:
    """Scores and flags of every detector for every training image."""
    comparison = service.find(session, subject, comparison_id)
    path = store.local_path(service.file_of(comparison, "comparison.parquet"))
    return files.download_file(path, f"comparison-{comparison.id[:8]}.parquet")
