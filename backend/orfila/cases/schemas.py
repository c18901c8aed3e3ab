"""Bodies of cases, their finding, scores and evidence. Terms as in the method: see docs/method.md."""

from typing import Literal

from pydantic import Field, model_validator

from orfila.schema_base import Request, Response, Sha256, Timestamp

CaseState = Literal["scoring", "in_review", "repairing", "verified", "regressed", "failed", "archived"]
EvidenceLevel = Literal["poisoning found", "weak evidence", "no evidence of poisoning"]
Strictness = Literal["strict", "usual", "none"]
"""Of "poisoning found": strict for p <= .01, usual for p <= .05; none where it is not found."""
Rule = Literal["collapse", "paper"]
Engine = Literal["fingerprint", "ekfac"]


class AffectedOfCase(Request):
    """An affected image of a case that exists already."""

    case_id: str
    number: int = Field(ge=0)


class AffectedSource(Request):
    """Where an affected image comes from. Exactly one of the four places is given."""

    test_index: int | None = Field(None, description="`index` of a test image of the case's data set.")
    upload_id: str | None = Field(None, description="A finished upload with purpose `image`.")
    triggered_index: int | None = Field(None, description="`index` of an image of the case's triggered data set.")
    of_case: AffectedOfCase | None = Field(None, description="An affected image of another case on the same data set.")
    true_label: int | None = Field(None, description="What the picture really shows, if known (uploads only).")

    @model_validator(mode="after")
    def _one_source(self) -> "AffectedSource":
        places = (self.test_index, self.upload_id, self.triggered_index, self.of_case)
        if sum(p is not None for p in places) != 1:
            raise ValueError("give one of test_index, upload_id, triggered_index and of_case")
        return self


class CaseCreate(Request):
    """Opens a case: one or several affected images with one symptom."""

    name: str = Field(min_length=1, max_length=120)
    model_id: str
    affected: list[AffectedSource] = Field(min_length=1, max_length=16)
    n_queries: int = Field(50, ge=10, le=200, description="n_b: transformed queries for each affected image.")
    seed: int = Field(0, ge=0, lt=2**31)
    suspects: Literal["label", "all"] = Field(
        "label", description="Suspect only training images that carry the predicted label, or all of them."
    )
    engine: Engine = Field(
        "fingerprint",
        description="How influence is computed: `fingerprint` (random projections, K-FAC whitened, kept as an index) "
        "or `ekfac` (exact gradients with the EK-FAC inverse, computed for each case).",
    )
    rule: Rule = Field("collapse", description="What decides the flagged set; the scores of both rules are kept.")
    triggered_dataset_id: str | None = Field(
        None, description="A data set of images known to carry the trigger, to measure the poison success rate (PSR)."
    )


class CaseEstimate(Response):
    """What a case would cost; nothing is stored."""

    index_ready: bool
    seconds: float | None
    predictions: list[int | None] = Field(
        description="Predicted label of each affected image where it is known before the run (test images)."
    )
    notes: list[str] = Field(description="E.g. that an image will be converted, or that the model gets it right.")


class CaseUpdate(Request):
    """Renames, or archives and restores."""

    name: str | None = Field(None, min_length=1, max_length=120)
    archived: bool | None = None


class AffectedImage(Response):
    """An affected image and what the model says of it."""

    number: int
    name: str
    test_index: int | None
    true_label: int | None
    predicted: int | None
    confidence: float | None
    margin: float | None = Field(
        description="The measurement m: logit of the predicted label minus logsumexp of the rest."
    )
    note: str = Field(description="Conversion applied to the upload; empty if none.")


class Estimate(Response):
    """A number with its 95 % interval and how it was obtained."""

    value: float | None
    low: float | None
    high: float | None
    method: str = Field(description="How the number was obtained, one sentence.")


class SharedMark(Response):
    """What the pictures of the flagged images have in common, and clean pictures of the class have not."""

    sentence: str = Field(description="The mark in words.")
    separation: float = Field(
        description="Distance between marked and unmarked suspects, in standard deviations of clean test images."
    )
    share_suspects: float = Field(description="Share of the suspects that has the mark.")
    share_counterparts: float = Field(description="Share of the test images with the same label that has it.")
    n_counterparts: int
    p_value: float = Field(
        description="Chance of so few of those test images, if the mark were half as common among them."
    )
    profile: list[float] = Field(
        description="Energy of the marked pictures over that of the other suspects: 8 bands from coarse to fine "
        "detail, for brightness and, of colour pictures, red against green and yellow against blue."
    )
    strongest: int = Field(description="Position in `profile` of the band that the sentence tells of.")


class EarlySuspect(Response):
    """A training image that looks like poison so far."""

    index: int
    collapse_score: float


class EarlyLook(Response):
    """What the training images say that are looked at so far, while the case is being scored.

    The shifts are those of the method on fewer images, so they move a little as more come. Nobody is flagged before the
    end: evidence and threshold need every suspect.
    """

    n_images: int = Field(description="Training images looked at so far.")
    n_train: int
    n_suspects: int = Field(description="Of those looked at.")
    edges: list[float] = Field(
        description="Of equal bins of the mean influence shift; what lies beyond is in the outermost ones."
    )
    suspects: list[int] = Field(description="Suspects in each bin.")
    rest: list[int] = Field(description="Other training images in each bin.")
    leading: list[EarlySuspect] = Field(description="The most probable poison so far, at most 10 images.")


class Finding(Response):
    """The answer to the case."""

    sentence: str
    evidence: EvidenceLevel
    level: Strictness | None = Field(None, description="How strictly it was found; null in findings of version 0.1.")
    p_value: float = Field(
        description="The larger of `p_group` and `p_image`; `p_image` alone where `share_counterparts` is null."
    )
    p_group: float | None = Field(None, description="That the flagged images are a natural group of their class.")
    p_image: float | None = Field(None, description="That an ordinary image belongs to the group as clearly.")
    statistic: float = Field(
        description="Gain in BIC of two components over one, for each suspect, times the cosine of the refined "
        "direction with the direction that the affected images gave."
    )
    share_suspects: float | None = Field(None, description="Share of the suspects that is in the group.")
    share_counterparts: float | None = Field(
        None, description="Share of the test images with the same label that is in the group."
    )
    n_counterparts: int | None = Field(None, description="Test images with the same label.")
    n_reference: int = Field(description="Ordinary test images of other labels that `p_image` is calibrated on.")
    predicted: int
    n_train: int
    n_suspects: int
    n_flagged: int
    n_flagged_paper: int = Field(description="What the paper's rule would flag.")
    threshold: float = Field(description="Posterior above which an image is flagged.")
    mark: SharedMark | None = Field(
        None, description="What the flagged images share, where it had a part in the posteriors; null if nothing."
    )
    precision: Estimate
    recall: Estimate
    seconds: dict[str, float] = Field(description="Phase -> seconds.")
    engine: str
    parameters: dict[str, str | int | float | bool | None]
    warnings: list[str] = Field(
        default_factory=list, description="What to know before believing it, e.g. layers that are not indexed."
    )


class Case(Response):
    """An investigation."""

    id: str
    project_id: str
    number: int
    name: str
    state: CaseState
    error: str | None
    model_id: str
    dataset_id: str
    triggered_dataset_id: str | None
    n_queries: int
    seed: int
    suspects: Literal["label", "all"]
    engine: Engine
    rule: Rule
    drill_id: str | None = Field(description="The drill that made the case's model: its poison is known.")
    job_id: str | None
    created_by: str
    created_at: Timestamp
    affected: list[AffectedImage]
    finding: Finding | None
    n_judged: int = 0
    result_digest: Sha256 | None = Field(description="Digest of model, data, parameters and code that made the result.")


class RelatedCase(Response):
    """Another case that flags some of the same training images."""

    id: str
    number: int
    name: str
    state: CaseState
    model_id: str
    n_flagged: int
    n_shared: int = Field(description="Images that both cases flag.")
    overlap: float = Field(description="Of the images that one of them flags, the share that both do (Jaccard).")


class Difference(Response):
    """Something that was asked differently in two cases."""

    name: str
    first: str
    second: str


class CasesBeside(Response):
    """Two cases side by side; numbers of images are null where the cases are of different images."""

    same_images: bool
    differences: list[Difference]
    n_both: int | None = Field(None, description="Images that both cases flag.")
    n_first: int | None = Field(None, description="Images that the first case alone flags.")
    n_second: int | None = Field(None, description="Images that the second case alone flags.")
    overlap: float | None = Field(
        None, description="Of the images that one of them flags, the share that both do (Jaccard)."
    )
    n_suspects_of_both: int | None = Field(None, description="Images that are suspects in both cases.")
    rank_correlation: float | None = Field(
        None, description="Spearman's, of the collapse scores of the images that are suspects in both."
    )
    both: list[int] = Field(default_factory=list, description="`index`, the highest mean collapse score first.")
    first: list[int] = Field(default_factory=list, description="Flagged by the first alone; at most a thousand.")
    second: list[int] = Field(default_factory=list, description="Flagged by the second alone; at most a thousand.")


class ScoreRow(Response):
    """One training image's scores."""

    index: int
    name: str
    label: int
    influence: float
    shift_mean: float
    n_collapsed: int = Field(description="How many of the n_b influence shifts are negative (paper rule).")
    self_influence: float
    relative_influence: float
    collapse_score: float
    posterior: float
    rule_posterior: float = Field(description="Posterior that the image would have without a verdict of its own.")
    mark_score: float = Field(
        description="How far along the shared mark the picture lies, in standard deviations of clean test images "
        "of the label from their mean; 0 where no mark is shared."
    )
    suspect: bool
    flagged: bool
    flagged_rule: bool = Field(description="Whether the rule flags it, whatever was judged of it.")
    flagged_paper: bool
    verdict: Literal["poison", "clean", "unsure"] | None


class Column(Response):
    """A typed array: base64 of little-endian values."""

    dtype: Literal["int32", "float32", "uint16", "uint8"]
    data: str


ScoreColumnName = Literal[
    "index",
    "label",
    "influence",
    "shift_mean",
    "n_collapsed",
    "self_influence",
    "relative_influence",
    "collapse_score",
    "posterior",
    "rule_posterior",
    "mark_score",
    "suspect",
    "flagged",
    "flagged_rule",
    "flagged_paper",
]


class ScoreColumns(Response):
    """Every training image's scores as columns, for filtering, sorting and thresholds in the browser."""

    n: int
    columns: dict[str, Column] = Field(
        description="Those that were asked for, by name. Row i is the image with `index` i; suspect, flagged, "
        "flagged_rule and flagged_paper are uint8."
    )


class QueryShift(Response):
    """One transformed query and its influence shift for one training image."""

    affected: int
    query: int
    transform: str
    query_label: int
    shift: float


class Evidence(Response):
    """Why one training image is, or is not, flagged."""

    row: ScoreRow
    label_name: str
    shifts: list[QueryShift]
    by_transform: dict[str, float] = Field(description="Transform -> mean influence shift.")
    rank: int = Field(description="Position by posterior, 1 is first.")


class Figure(Response):
    """A Plotly figure: give it to `Plotly.react` or `plotly.graph_objects.Figure`."""

    data: list[dict[str, object]]
    layout: dict[str, object]
