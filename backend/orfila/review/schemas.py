"""Bodies of verdicts and review progress."""

from typing import Literal

from pydantic import Field

from orfila.cases.schemas import Estimate
from orfila.schema_base import Request, Response, Timestamp

VerdictValue = Literal["poison", "clean", "unsure"]


class VerdictItem(Request):
    """A judgement of one training image; null takes one's own verdict back."""

    index: int = Field(ge=0)
    verdict: VerdictValue | None
    reason: str | None = Field(None, max_length=500)


class VerdictsPost(Request):
    """Verdicts of the signed-in reviewer; the last one on an image counts, history is kept."""

    items: list[VerdictItem] = Field(min_length=1, max_length=10_000)


class Verdict(Response):
    """A reviewer's current verdict on one training image."""

    index: int
    verdict: VerdictValue
    reason: str | None
    reviewer: str
    at: Timestamp


class VerdictsPosted(Response):
    """What changed: enough to undo it."""

    changed: int
    replaced: int = Field(description="How many of one's own earlier verdicts were replaced.")
    previous: list[VerdictItem] = Field(description="Post these to undo.")


class VerdictsRestored(Response):
    """What an undo or redo has changed: one's own verdicts as they are now."""

    items: list[VerdictItem]


class ReviewProgress(Response):
    """How far the review is, and what it says of the flagged set."""

    n_flagged: int
    n_judged: int
    n_poison: int
    n_clean: int
    n_unsure: int
    n_flagged_judged: int
    precision: Estimate = Field(description="Of the flagged set: from verdicts where there are any, else posteriors.")
    recall: Estimate
    n_to_learn: int = Field(
        description="Images of which the team says something else than what the scores have learned; see refit."
    )
    answers_to_5_percent: int | None = Field(description="More verdicts needed for an interval of +-0.05.")


class NextImages(Response):
    """What to judge next, the most informative first."""

    n: int = Field(description="Suspects without a verdict.")
    images: list[int] = Field(
        description="`index` of the first of them: each time from the group (certain, doubtful, nearly flagged) whose "
        "next verdict narrows the interval of the number of poisons the most, drawn at random within it."
    )


class ReviewerShare(Response):
    """What one reviewer has judged."""

    reviewer: str
    n_judged: int
    n_poison: int
    n_clean: int
    n_unsure: int
    seconds_per_image: float | None = Field(
        description="Median time between two verdicts given one by one, pauses of over two minutes left out; null "
        "where there are fewer than five such times."
    )
    n_controls_answered: int | None = Field(
        None, description="Clean controls of all rounds judged; null for those who may not know what the controls are."
    )
    n_controls_right: int | None = Field(None, description="Of these, called clean.")


class PairAgreement(Response):
    """Two reviewers on the images that both have judged."""

    first: str
    second: str
    n_shared: int
    n_agreed: int
    cohen_kappa: float | None = Field(
        description="1 complete, 0 as chance would have it; null where nothing is shared or chance alone agrees always."
    )
    confusion: list[list[int]] = Field(
        description="Images by the first one's verdict (row) and the second one's (column): poison, clean, unsure."
    )


class Agreement(Response):
    """How far reviewers agree, beyond chance, on the images that several have judged."""

    reviewers: list[ReviewerShare]
    pairs: list[PairAgreement]
    n_shared: int = Field(description="Images with verdicts of more than one reviewer.")
    n_unanimous: int = Field(description="Of them, those that all call the same.")
    n_conflicts: int = Field(description="Of them, those that one calls poison and another clean.")
    conflicts: list[int] = Field(description="`index` of these, the first thousand.")
    krippendorff_alpha: float | None = Field(
        description="Over all reviewers and shared images, unequal numbers of reviewers allowed; null without a basis."
    )
    fleiss_kappa: float | None = Field(
        description="Over the images with `fleiss_raters` reviewers each, the most frequent number."
    )
    fleiss_raters: int
    n_fleiss: int
