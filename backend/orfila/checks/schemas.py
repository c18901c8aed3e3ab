"""Bodies of checks: a closed case asks every later model whether it makes the same mistake."""

from pydantic import Field

from orfila.schema_base import Request, Response, RunState, Timestamp


class CheckCreate(Request):
    """Checks a model against closed cases of its project."""

    case_ids: list[str] | None = Field(
        None,
        min_length=1,
        max_length=1_000,
        description="Cases that were verified, or have regressed since; all of the project by default.",
    )


class CheckedImage(Response):
    """An affected image, as the checked model sees it."""

    number: int
    name: str
    true_label: int | None
    predicted: int
    confidence: float
    passed: bool = Field(description="Not predicted as in the case, and right where the true label is known.")


class CheckedCase(Response):
    """One case's part of a check."""

    case_id: str
    name: str
    passed: bool = Field(description="Every affected image passes, and the poison success rate is within its limit.")
    affected: list[CheckedImage]
    psr: float | None = Field(description="Poison success rate on the case's triggered images; null without any.")
    psr_limit: float | None = Field(description="What the verified repair left, and one percentage point.")
    n_triggered: int | None


class SkippedCase(Response):
    """A case that says nothing about this model."""

    case_id: str
    name: str
    reason: str


class CheckOutcome(Response):
    """What came of a check."""

    passed: bool
    sentence: str
    cases: list[CheckedCase]
    skipped: list[SkippedCase]
    seconds: float


class RegressionCheck(Response):
    """A check and what came of it."""

    id: str
    project_id: str
    model_id: str
    state: RunState
    error: str | None
    job_id: str | None
    created_by: str
    created_at: Timestamp
    outcome: CheckOutcome | None
