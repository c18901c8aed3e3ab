"""Bodies of comparisons: what other detectors flag for the same affected images."""

from typing import Literal

from pydantic import Field

from orfila.cases.schemas import Estimate
from orfila.schema_base import Request, Response, RunState, Timestamp

Basis = Literal["truth", "verdicts", "none"]


class Detector(Response):
    """A way to find poison, as it was published."""

    name: str
    title: str
    source: str = Field(description="Where it was published.")


class ComparisonCreate(Request):
    """Runs other detectors on the affected images of a case."""

    detectors: list[str] | None = Field(
        None, min_length=1, description="Names of `GET /detectors`; all of them by default."
    )


class Measured(Response):
    """A flagged set against what is known of the poison."""

    n_flagged: int
    n_shared: int = Field(description="How many of them the case flags as well.")
    precision: Estimate
    recall: Estimate


class DetectorRow(Response):
    """What one detector says of the case."""

    detector: str
    title: str
    source: str
    seconds: float = Field(description="Its own time; parts that several detectors use are in `shared_seconds`.")
    all_classes: Measured | None = Field(description="Its answer as it is; null if it gave none.")
    label: Measured | None = Field(description="The same, kept to images that carry the affected label.")
    note: str
    error: str = Field(description="Why it gave no answer; empty if it did.")


class Comparison(Response):
    """Detectors side by side on one case."""

    id: str
    case_id: str
    detectors: list[str]
    state: RunState
    error: str | None
    job_id: str | None
    created_by: str
    created_at: Timestamp
    basis: Basis = Field(
        description="What precision and recall are measured on: the planted truth of a drill, the verdicts so far, or "
        "nothing."
    )
    n_known: int = Field(description="Poisoned images in the truth, or images that reviewers decided on.")
    rows: list[DetectorRow]
    shared_seconds: dict[str, float] = Field(description="Part -> seconds, e.g. all influences.")
