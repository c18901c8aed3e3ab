"""Body of a report: everything that is known of a case, under the names that the API has elsewhere."""

from pydantic import Field

from orfila.cases.schemas import Case
from orfila.models.schemas import ModelCard
from orfila.remedies.schemas import Remedy
from orfila.review.schemas import Agreement, ReviewProgress, VerdictValue
from orfila.schema_base import Response, Sha256, Timestamp


class ReportedData(Response):
    """The data set that the model was trained on."""

    id: str
    name: str
    sha256: Sha256 | None = Field(description="Digest of the uploaded archive.")
    digest: Sha256 | None = Field(description="Digest of the content: classes, labels, splits, image bytes.")
    classes: list[str]
    n_train: int
    n_test: int


class ReportedModel(Response):
    """The classifier."""

    id: str
    name: str
    sha256: Sha256
    card: ModelCard
    accuracy_test: float | None


class FlaggedImage(Response):
    """A flagged training image, the surest first."""

    index: int
    name: str
    label: int
    posterior: float
    collapse_score: float
    verdict: VerdictValue | None = Field(description="What the team says of it.")


class FiftyOneSamples(Response):
    """samples.json of `fiftyone.types.FiftyOneDataset`, for `Dataset.merge_samples` by `filepath`."""

    name: str
    samples: list[dict[str, object]] = Field(
        description="filepath (the image's name in the data set), tags, ground_truth, and of ours orfila_index, "
        "orfila_flagged, orfila_posterior, orfila_collapse_score, orfila_influence_shift, orfila_verdict."
    )


class AuditHead(Response):
    """Where the audit trail stood when the report was made."""

    n_events: int
    head: Sha256 = Field(description="Hash of the last event; it covers all events before it.")
    n_of_case: int = Field(description="Events of this case.")


class Report(Response):
    """A case from its question to its proof."""

    made_at: Timestamp
    version: str = Field(description="Of Orfila.")
    case: Case
    dataset: ReportedData
    model: ReportedModel
    flagged: list[FlaggedImage] = Field(description="All of them, the surest first.")
    review: ReviewProgress
    agreement: Agreement
    remedies: list[Remedy]
    files: dict[str, Sha256] = Field(description="Files of the investigation, by name.")
    audit: AuditHead
