"""Bodies of remedies: unlearning a set, and the before/after verification."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Sha256, Timestamp

RemedyState = Literal["running", "verified", "not_healed", "failed", "cancelled"]
Method = Literal["eu", "cf"]


class RemovalSet(Request):
    """Which training images to remove."""

    kind: Literal["flagged", "poison_verdicts", "threshold"] = Field(
        description="`flagged` = the automatic set less the images judged clean plus those judged poison; "
        "`poison_verdicts` = only images judged poison; `threshold` = posterior above `threshold`, corrected."
    )
    threshold: float | None = Field(None, ge=0, le=1)


class RemedyCreate(Request):
    """Repairs the case's model without a set of training images."""

    method: Method = Field(description="`eu` retrains from scratch without the set; `cf` fine-tunes on the kept data.")
    remove: RemovalSet
    epochs: int | None = Field(
        None, ge=1, le=300, description="Default: as the model was trained (eu), a third, 4 or more (cf)."
    )
    learning_rate: float | None = Field(None, gt=0, le=10)
    seed: int = Field(0, ge=0, lt=2**31)


class AffectedOutcome(Response):
    """An affected image before and after."""

    number: int
    true_label: int | None
    before_predicted: int
    after_predicted: int
    before_margin: float = Field(description="The measurement m for the label predicted before.")
    after_margin: float = Field(description="The same measurement on the repaired model.")
    healed: bool = Field(description="No longer predicted as before (and right, where the true label is known).")


class Verification(Response):
    """The proof of a repair."""

    sentence: str
    affected: list[AffectedOutcome]
    accuracy_before: float
    accuracy_after: float
    class_accuracy_before: list[float]
    class_accuracy_after: list[float]
    changed: list[int] = Field(description="`index` of test images whose prediction changed (at most 2,000).")
    n_changed: int
    n_test: int
    psr_before: float | None = Field(description="Poison success rate, where triggered images were given.")
    psr_after: float | None
    n_triggered: int | None
    seconds: float


class Remedy(Response):
    """A repair of a case's model."""

    id: str
    case_id: str
    method: Method
    remove: RemovalSet
    n_removed: int
    epochs: int | None
    learning_rate: float | None
    seed: int
    state: RemedyState
    error: str | None
    job_id: str
    model_id: str | None = Field(description="The repaired model.")
    cleansed_dataset_id: str | None = Field(description="The data set version without the removed images.")
    removed_digest: Sha256
    created_by: str
    created_at: Timestamp
    verification: Verification | None
