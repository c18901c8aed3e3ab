"""HTTP of figures: the same JSON for browser, REST and notebook."""

from typing import Literal

from fastapi import APIRouter

from orfila.cases import findings, schemas
from orfila.cases import service as cases
from orfila.datasets.models import Dataset
from orfila.errors import Conflict
from orfila.figures import build
from orfila.models import service as models
from orfila.models.models import ClassifierModel
from orfila.remedies import service as remedies
from orfila.remedies.schemas import Verification
from orfila.web.dependencies import SessionDep, StoreDep, SubjectDep

router = APIRouter(prefix="/api/v1", tags=["figures"])

FigureName = Literal["shift_histogram", "score_histogram", "transform_heatmap", "class_accuracy"]


@router.get("/cases/{case_id}/figures/{name}")
def get_figure(
    case_id: str, name: FigureName, session: SessionDep, subject: SubjectDep, store: StoreDep
) -> schemas.Figure:
    """A figure of a case, for `Plotly.react`."""
    case = cases.find(session, subject, case_id)
    if name == "class_accuracy":
        classes = session.get_one(Dataset, case.dataset_id).classes
        found = models.predictions_of(store, session.get_one(ClassifierModel, case.model_id))
        return build.class_accuracy(classes, build.accuracy_by_class(found.label, found.predicted, len(classes)))
    scores = findings.scores(store, case)
    if name == "shift_histogram":
        return build.shift_histogram(scores)
    if name == "score_histogram":
        return build.score_histogram(scores)
    return build.transform_heatmap(scores, findings.shifts(store, case), findings.queries(store, case))


@router.get("/remedies/{remedy_id}/figures/class_accuracy")
def get_remedy_figure(remedy_id: str, session: SessionDep, subject: SubjectDep) -> schemas.Figure:
    """Accuracy of each class before and after a repair."""
    remedy = remedies.find(session, subject, remedy_id)
    if remedy.verification is None:
        raise Conflict("The repair is not verified yet; wait for its job.", code="remedy_not_verified")
    case = cases.find(session, subject, remedy.case_id)
    classes = session.get_one(Dataset, case.dataset_id).classes
    proof = Verification.model_validate(remedy.verification)
    return build.class_accuracy(classes, proof.class_accuracy_before, proof.class_accuracy_after)
