"""Bodies of remedies: unlearning a set, and the before/after verification."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Sha256, Timestamp

RemedyState = Literal["running", "verified", "not_healed", "failed", "cancelled"]
Method = Literal["eu", "cf", "ssd", "scrub", "badt", "influence", "iau", "selective"]
TRAINING: frozenset[Method] = frozenset({"eu", "cf", "scrub", "badt"})
"""Methods that train, and so take epochs and a learning rate."""
Setting = str | int | float


RemovalKind = Literal["flagged", "poison_verdicts", "threshold"]


class RemovalSet(Request):
    """Which training images to remove."""

    kind: RemovalKind = Field(
        description="`flagged` = the automatic set less the images judged clean plus those judged poison; "
        "`poison_verdicts` = only images judged poison; `threshold` = posterior above `threshold`, corrected."
    )
    threshold: float | None = Field(None, ge=0, le=1)


class RemedyCreate(Request):
    """Repairs the case's model without a set of training images."""

    method: Method = Field(
        description="`eu` retrains from scratch without the set; `cf` fine-tunes on the kept data; `scrub` and `badt` "
        "(Bad Teacher) distil; `ssd` dampens parameters; `influence`, `selective` (a Newton step in all units, or in "
        "those that carry the set) and `iau` (ascent and correction) repair in seconds and train nothing."
    )
    remove: RemovalSet
    epochs: int | None = Field(
        None,
        ge=1,
        le=300,
        description="Only for methods that train. Default: as the model was trained (eu), a third of it, 4 or more "
        "(cf, scrub, badt).",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Only for methods that train. Default: as the model was trained (eu, cf), or chosen on kept "
        "held-out images (scrub, badt).",
    )
    seed: int = Field(0, ge=0, lt=2**31)


class PredictedOutcome(Response):
    """What a removal is expected to do to an affected image."""

    number: int
    margin: float = Field(description="The measurement m now, for the label that the image receives.")
    predicted_margin: float = Field(description="The same without the set.")
    expected_to_flip: bool = Field(description="The predicted margin is negative: the label loses its majority.")


class RemovalPreview(Response):
    """The expected effect of removing a set, before anything is repaired."""

    n_removed: int
    affected: list[PredictedOutcome]


class AffectedOutcome(Response):
    """An affected image before and after."""

    number: int
    true_label: int | None
    before_predicted: int
    after_predicted: int
    before_margin: float = Field(description="The measurement m for the label predicted before.")
    after_margin: float = Field(description="The same measurement on the repaired model.")
    predicted_margin: float | None = Field(None, description="What the preview expected `after_margin` to be.")
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
    settings: dict[str, Setting] = Field(
        default_factory=dict, description="What the method chose, and what it was measured by."
    )
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
