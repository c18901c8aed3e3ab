"""Bodies of review rounds."""

from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from orfila.review.schemas import VerdictValue
from orfila.schema_base import Request, Response, Timestamp

RoundState = Literal["open", "paused", "closed", "signed_off"]
Stratum = Literal["certain", "borderline", "control"]
QueueKind = Literal["mine", "second", "conflicts", "controls"]


class RoundCreate(Request):
    """A new round over a case's flagged images, or over a sample of them."""

    name: str = Field(min_length=1, max_length=80)
    reviewers: list[str] = Field(min_length=1, max_length=100, description="Ids of members who may judge.")
    reviewers_per_image: int = Field(2, ge=1, le=10)
    blind: bool = Field(
        True, description="Whoever has images left to judge sees no score, no other verdict and no comment of the case."
    )
    images: Literal["flagged", "sample"] = "flagged"
    n_certain: int = Field(50, ge=0, le=10_000, description="Of a sample: flagged images with a posterior over .99.")
    n_borderline: int = Field(
        50, ge=0, le=10_000, description="Of a sample: other flagged images, and suspects with a posterior over .1."
    )
    n_controls: int = Field(
        20,
        ge=0,
        le=1_000,
        description="Images of the same class, from the half with the lowest posteriors, mixed in unseen.",
    )
    adjudicator: str | None = Field(None, description="Id of a member who decides conflicts.")
    due_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _enough_reviewers(self) -> "RoundCreate":
        if len(set(self.reviewers)) < self.reviewers_per_image:
            raise ValueError("name at least as many reviewers as each image shall have")
        return self


class RoundChange(Request):
    """What to change of a round; fields that are left out stay."""

    name: str | None = Field(None, min_length=1, max_length=80)
    state: Literal["open", "paused", "closed"] | None = None
    due_at: AwareDatetime | None = None


class Reassignment(Request):
    """Gives what a reviewer has not judged yet to others."""

    reviewer: str = Field(description="Id of who gives it up.")
    to: list[str] = Field(min_length=1, max_length=100, description="Ids of members who take it over, in equal parts.")


class RoundReviewer(Response):
    """How far one reviewer is."""

    user_id: str
    name: str
    n_assigned: int
    n_answered: int
    n_controls_answered: int | None = Field(description="Null for those who may not know what the controls are.")
    n_controls_right: int | None = Field(description="Controls called clean.")


class Round(Response):
    """A review round."""

    id: str
    case_id: str
    name: str
    state: RoundState
    blind: bool
    reviewers_per_image: int
    adjudicator: str | None = Field(description="Name.")
    due_at: Timestamp | None
    created_by: str
    created_at: Timestamp
    ended_at: Timestamp | None
    n_images: int = Field(description="Controls included.")
    n_controls: int | None
    n_answered: int = Field(description="Images with as many verdicts of their reviewers as were asked for.")
    n_conflicts: int | None = Field(description="Called poison and clean, and not decided; null while one is blind.")
    n_mine: int = Field(description="Images that one is asked about and has not judged.")
    reviewers: list[RoundReviewer]


class QueueImage(Response):
    """An image to look at next. Nothing about it that could lead the eye."""

    index: int
    verdicts: dict[VerdictValue, int] | None = Field(None, description="In the queues of conflicts and controls.")


class Queue(Response):
    """What there is to do, in the order to do it."""

    kind: QueueKind
    n: int
    images: list[QueueImage] = Field(description="The first thousand.")


class Resolution(Response):
    """The final word on an image that reviewers disagreed about."""

    index: int
    verdict: VerdictValue
    reason: str | None
    adjudicator: str
    at: Timestamp
