"""HTTP of models and their predictions."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from orfila.cases.schemas import ScoreColumns
from orfila.idempotency.service import once
from orfila.models import architectures, schemas, service
from orfila.projects.schemas import Amendment
from orfila.schema_base import Page
from orfila.web import files
from orfila.web.dependencies import Cursor, IdempotencyKey, Limit, SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["models"])


@router.get("/architectures")
def list_architectures() -> list[schemas.Architecture]:
    """Architectures that models can be built from. Any other `torchvision:NAME` or `timm:NAME` works as well."""
    return architectures.offered()


@router.get("/uploads/{upload_id}/card")
def guess_card(upload_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> schemas.CardGuess:
    """What a finished upload of a model says about itself, to fill in its card."""
    return service.guess(session, subject, store, upload_id)


@router.get("/projects/{project_id}/models")
def list_models(
    project_id: str, session: SessionDep, subject: SubjectDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[schemas.ClassifierModel]:
    """A project's models, newest first."""
    return service.list_models(session, subject, project_id, cursor, limit)


@router.post("/projects/{project_id}/models", status_code=201)
def create_model(
    project_id: str,
    body: schemas.ModelCreate,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
) -> schemas.ClassifierModel:
    """Make a model of a finished safetensors upload; a job checks it on the data set."""
    return once(
        session, subject, idempotency_key, f"create_model/{project_id}", body, schemas.ClassifierModel,
        lambda: service.create(session, subject, store, project_id, body),
    )  # fmt: skip


@router.get("/models/{model_id}")
def get_model(model_id: str, session: SessionDep, subject: SubjectDep) -> schemas.ClassifierModel:
    """One model."""
    return service.described(service.find(session, subject, model_id))


@router.patch("/models/{model_id}")
def update_model(model_id: str, body: Amendment, session: SessionDep, subject: SubjectDep) -> schemas.ClassifierModel:
    """Rename a model, or preserve it as evidence so that it cannot be deleted."""
    return service.update(session, subject, model_id, body)


@router.delete("/models/{model_id}", status_code=204)
def delete_model(model_id: str, session: SessionDep, subject: SubjectDep) -> None:
    """Remove a model that no case, sweep, drill or repair refers to, with its index."""
    service.delete(session, subject, model_id)


@router.get("/models/{model_id}/confusion")
def get_confusion(model_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> schemas.ConfusionMatrix:
    """Counts on the test split."""
    return service.confusion(session, subject, store, model_id)


@router.get("/models/{model_id}/predictions")
def list_predictions(
    model_id: str,
    session: SessionDep,
    subject: SubjectDep,
    store: StoreDep,
    label: int | None = None,
    predicted: int | None = None,
    misclassified: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> Page[schemas.Prediction]:
    """Test images with what the model says of them, most confident first."""
    return service.list_predictions(
        session, subject, store, model_id,
        label=label, predicted=predicted, misclassified=misclassified, cursor=cursor, limit=limit,
    )  # fmt: skip


@router.get("/models/{model_id}/predictions/columns")
def prediction_columns(model_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> ScoreColumns:
    """All test images as columns: index, label, predicted int32; confidence, margin float32."""
    return service.prediction_columns(session, subject, store, model_id)


@router.get(
    "/models/{model_id}/model.safetensors",
    response_class=FileResponse,
    responses=files.described("application/octet-stream"),
)
def download_model(model_id: str, session: SessionDep, subject: SubjectDep, store: StoreDep) -> FileResponse:
    """The weights."""
    model = service.find(session, subject, model_id)
    return files.download_file(store.local_path(model.sha256), f"{model.name}.safetensors")
