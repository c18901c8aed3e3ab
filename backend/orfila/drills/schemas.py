"""Bodies of drills: a known poison is planted, and what an investigation finds is held against it."""

from typing import Literal

from pydantic import Field

from orfila.cases.schemas import EvidenceLevel, Strictness
from orfila.schema_base import Request, Response, RunState, Timestamp

OptionValue = int | float | bool


class AttackOption(Response):
    """A setting of one attack, beside its rate and classes."""

    name: str
    title: str
    kind: Literal["integer", "number", "switch"]
    default: OptionValue | None = Field(description="Null: chosen by seed.")
    minimum: float | None = None
    maximum: float | None = None
    description: str


class Attack(Response):
    """An attack that a drill can plant."""

    name: str
    title: str
    description: str
    clean_label: bool = Field(description="Poison keeps its true label: no label is wrong.")
    typical_rate: float = Field(description="A share of the training images at which it usually takes hold.")
    options: list[AttackOption]


class DrillCreate(Request):
    """Plants a poison in a copy of a clean data set, trains a model on it, and investigates it."""

    name: str = Field(min_length=1, max_length=120)
    dataset_id: str
    attack: str = Field(description="A name of `GET /attacks`.")
    rate: float = Field(0.03, gt=0, lt=1, description="Share of all training images that become poison.")
    source: int | None = Field(None, ge=0, description="Victim class; by default the attack's own choice.")
    target: int | None = Field(
        None, ge=0, description="Label that a triggered image shall receive; by default by seed."
    )
    options: dict[str, OptionValue] = Field(default_factory=dict, description="Settings of the attack.")
    architecture: str = "resnet20-cifar"
    epochs: int = Field(20, ge=1, le=300)
    seed: int = Field(0, ge=0, lt=2**31, description="Of the poison, the training and the transforms.")
    n_affected: int = Field(1, ge=1, le=16, description="How many triggered images are investigated together.")
    n_queries: int = Field(50, ge=10, le=200, description="n_b: transformed queries for each affected image.")


class Detection(Response):
    """A flagged set against the truth."""

    n_flagged: int
    precision: float | None = Field(description="Share of the flagged that were planted; null if nothing is flagged.")
    recall: float | None = Field(description="Share of the planted that are flagged.")


class Curve(Response):
    """Precision against recall, for every place where a ranking of the training images may be cut."""

    average_precision: float | None
    recall: list[float]
    precision: list[float]


class DrillAffected(Response):
    """An investigated image: a test image, or one of the triggered images where the attack has a trigger."""

    test_index: int | None
    triggered_index: int | None


class DrillOutcome(Response):
    """What was planted, whether it took hold, and what was found of it."""

    sentence: str = Field(description="The finding of the investigation.")
    evidence: EvidenceLevel
    level: Strictness | None = Field(None, description="How strictly poisoning was found.")
    p_value: float
    predicted: int = Field(description="What the model says of the investigated images.")
    source: int | None = Field(description="The victim class, null when every other class is one.")
    target: int | None = Field(description="The label that a victim shall receive, null for random label flips.")
    n_poison: int
    n_train: int
    poison_success_rate: float = Field(description="PSR: share of the victims (triggered) that receive the target.")
    n_victims: int
    has_trigger: bool = Field(description="Whether a victim must be changed before the model errs.")
    took_hold: bool = Field(description="PSR of one half or more, where there is a trigger; else one victim or more.")
    accuracy: float = Field(description="Of the poisoned model on the clean test images.")
    collapse_rule: Detection
    paper_rule: Detection
    collapse_curve: Curve = Field(description="Ranking by the collapse score.")
    paper_curve: Curve = Field(description="Ranking by how many of the n_b influence shifts are negative.")
    affected: list[DrillAffected]
    seconds: float


class Drill(Response):
    """A drill and what came of it."""

    id: str
    project_id: str
    dataset_id: str
    name: str
    state: RunState
    error: str | None
    job_id: str | None
    created_by: str
    created_at: Timestamp
    attack: str
    rate: float
    source: int | None
    target: int | None
    options: dict[str, OptionValue]
    architecture: str
    epochs: int
    seed: int
    n_affected: int
    n_queries: int
    poisoned_dataset_id: str | None = Field(description="The data set with the poison in it.")
    triggered_dataset_id: str | None = Field(description="Test images with the trigger on them.")
    model_id: str | None = Field(description="The model trained on the poisoned data set.")
    outcome: DrillOutcome | None
