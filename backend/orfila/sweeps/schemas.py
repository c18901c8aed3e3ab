"""Bodies of sweeps: every class of a model's training data is looked at, without any affected image."""

from pydantic import Field

from orfila.cases.schemas import EvidenceLevel, Strictness
from orfila.schema_base import Request, Response, RunState, Timestamp


class SweepCreate(Request):
    """Scans the training data of a model for poison."""

    model_id: str


class SweepClass(Response):
    """What the sweep says of one class."""

    label: int
    n_images: int = Field(description="Training images that carry the label.")
    accused: bool = Field(description="Poisoning is found at the strict level: nobody has pointed at a symptom.")
    evidence: EvidenceLevel
    level: Strictness
    p_value: float = Field(description="Corrected for the number of groups that were looked at.")
    statistic: float
    share_suspects: float = Field(description="Share of the class's training images in the group that stands out.")
    share_counterparts: float | None = Field(description="Share of its test images in that group.")
    n_counterparts: int
    n_flagged: int = Field(description="Images of an accused class that are called poison.")


class SweepOutcome(Response):
    """What the sweep found."""

    sentence: str
    n_train: int
    classes: list[SweepClass]
    seconds: float


class Sweep(Response):
    """A sweep and what came of it."""

    id: str
    project_id: str
    model_id: str
    dataset_id: str
    state: RunState
    error: str | None
    job_id: str | None
    created_by: str
    created_at: Timestamp
    outcome: SweepOutcome | None


class SweepFlagged(Response):
    """The images of one class that a sweep calls poison."""

    label: int
    indices: list[int] = Field(description="`index` of training images, the most suspicious first.")
