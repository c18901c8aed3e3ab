"""What each kind of job is given and what it gives back.

The API writes a spec into the job's row; a worker reads it, runs the engine, and commits a result under its fence. Both
are plain JSON of ids, digests and numbers. Large things (pixels, fingerprints, scores, weights) are blobs in storage.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from orfila.cases.schemas import AffectedImage, EarlyLook, Engine, Finding, Rule
from orfila.checks.schemas import CheckOutcome
from orfila.datasets.schemas import CifarLabels, ImageSize
from orfila.drills.schemas import DrillOutcome, OptionValue
from orfila.models.schemas import ModelCard
from orfila.remedies.schemas import Method, Verification
from orfila.sweeps.schemas import SweepOutcome

Tree = dict[str, str]
"""A stored directory: file name -> SHA-256 of its content."""


class Contract(BaseModel):
    """Base of every spec and result."""

    model_config = ConfigDict(extra="forbid")


class IngestSpec(Contract):
    """Read an uploaded archive into a pack."""

    dataset_id: str
    archive: str = Field(description="SHA-256 of the uploaded file.")
    filename: str
    on_broken: Literal["refuse", "skip"]
    split_seed: int
    size: ImageSize | None = None
    labels: CifarLabels | None = None
    class_names: dict[str, str] | None = None
    in_parts: bool = Field(
        False,
        description="Stage 0 looks through the archive and names parts, stage 1 has a shard for each (shard payload: "
        "start, stop), stage 2 joins them; otherwise there is one stage.",
    )


class IngestSurveyResult(Contract):
    """What the first reading found, and the parts of the second."""

    survey: Tree
    split: list[dict[str, int]] = Field(min_length=1)
    seconds: float


class IngestPartResult(Contract):
    """Pixels, originals, thumbnails and digests of a range of images."""

    start: int
    stop: int
    files: Tree
    survey: Tree
    seconds: float


class IngestResult(Contract):
    """A pack: meta.json, manifest.parquet, pixels.npy, originals.bin and atlas-NNNN.webp."""

    files: Tree
    meta: dict[str, object] = Field(description="Content of the pack's meta.json.")
    n_duplicates: int
    seconds: float


class ConversionSpec(Contract):
    """Make a safetensors file of a PyTorch file."""

    upload_id: str
    weights: str = Field(description="SHA-256 of the PyTorch file.")
    size: int = Field(description="Its bytes.")


class ConversionResult(Contract):
    """The safetensors file: its SHA-256 and bytes."""

    weights: str
    size: int


class ModelCheckSpec(Contract):
    """Load a model and predict the data set."""

    model_id: str
    weights: str
    card: ModelCard | None
    pack: Tree


class ModelCheckResult(Contract):
    """`files` holds predictions.npz: test_index i4, label i4, predicted i4, confidence f4, margin f4, in test order."""

    card: ModelCard
    n_parameters: int
    accuracy_train: float
    accuracy_test: float
    warnings: list[str]
    files: Tree


class DrillPlantedResult(Contract):
    """The poisoned pack, the model trained on it, and what the planting leaves for the last stage."""

    poisoned: IngestResult
    planting: Tree
    weights: str
    seconds: float


class IndexBuildSpec(Contract):
    """Build the fingerprint index of a model over the training split of a pack.

    Stage 0 has a shard for each range of training images (shard payload: start, stop), stage 1 sums and factorises,
    stage 2 has a shard for each label that the evidence test is calibrated for (labels), stage 3 puts all together.
    """

    index_id: str
    weights: str
    card: ModelCard
    pack: Tree
    n_train: int
    seed: int = 0


class IndexShardResult(Contract):
    """Raw projections and the partial Gram matrices of one range."""

    start: int
    stop: int
    files: Tree
    seconds: float
    planted: DrillPlantedResult | None = Field(None, description="In a drill: what its first stage made, handed on.")


class IndexResult(Contract):
    """index.json, the gradients and scales of each range, self_influence.npy, whitening.safetensors and the evidence
    calibration.
    """

    files: Tree
    dimension: int
    seconds: float


class IndexFactorsResult(Contract):
    """An index whose evidence test is not calibrated yet, and the labels for which that is to be done."""

    index: IndexResult
    split: list[dict[str, list[int]]] = Field(min_length=1)


class IndexCalibrationResult(Contract):
    """References of some labels, and the index that they are of."""

    files: Tree
    seconds: float
    index: IndexResult


class AffectedSpec(Contract):
    """One affected image."""

    number: int
    name: str
    test_index: int | None
    image: str | None = Field(description="SHA-256 of an uploaded picture.")
    true_label: int | None


EKFAC_IMAGES, EKFAC_PART_IMAGES = 10_000, 2_048
"""Training images that estimate EK-FAC factors at most, and how many of them a part has: the engine's own numbers."""
Phase = Literal["moments", "bases", "eigenvalues", "factors", "influences", "finding"]
"""Of an investigation with EK-FAC; those of the factors only where the model has none yet."""


def ekfac_parts(n_train: int, *, part_images: int = EKFAC_PART_IMAGES) -> list[dict[str, int]]:
    """The parts of the passes that estimate EK-FAC factors, as payloads of shards."""
    return [{"number": number} for number in range(-(-min(n_train, EKFAC_IMAGES) // part_images))]


class CaseQuestion(Contract):
    """What a case asks: of which model and data, about which images, and how."""

    case_id: str
    index_id: str
    weights: str
    card: ModelCard
    pack: Tree
    affected: list[AffectedSpec]
    n_queries: int
    seed: int
    suspects: Literal["label", "all"]


class InvestigateSpec(CaseQuestion):
    """Score every training image for the affected images of a case. The index is ready when this runs.

    With the fingerprint index there is one stage. With EK-FAC there is one for each of `phases`: moments, eigenvalues
    (shard payload: number, of a part of the drawn images) and influences (start, stop) are split.
    """

    engine: Engine = "fingerprint"
    rule: Rule = "collapse"
    phases: list[Phase] = ["finding"]


class EkfacPartResult(Contract):
    """What a stage of EK-FAC hands on. `files` are this shard's own; the rest is carried from earlier stages."""

    files: Tree
    bases: Tree = {}
    engine: Tree = Field({}, description="The directory of the engine, without its store.")


class InvestigateResult(Contract):
    """`files` is the investigation directory: scores.parquet, shifts.npy, queries.json, query_images.npy,
    summary.json, and what a removal is expected to do to each affected image: removal.npy, removal_curve.npy.
    """

    files: Tree
    finding: Finding
    affected: list[AffectedImage]
    ekfac: Tree | None = Field(None, description="The EK-FAC engine's files, where the case asked for that engine.")


class EarlyLookSpec(CaseQuestion):
    """An early look at a case whose scores are not there yet, through the training images that are projected already.

    Without `parts`: through the whole index, while EK-FAC is at work.
    """

    parts: list[IndexShardResult] = Field(description="Ranges of the index that are done.")


class EarlyLookResult(Contract):
    """What it showed; null where its parts were gone, because the index is whole by now."""

    look: EarlyLook | None


class RefitSpec(Contract):
    """Learn from the verdicts on a case: fit its finding again."""

    case_id: str
    index_id: str
    weights: str
    card: ModelCard
    pack: Tree
    affected: list[AffectedSpec]
    engine: Engine
    found: Tree = Field(description="scores.parquet and summary.json of the case as they are.")
    poison: list[int] = Field(description="`index` of the training images that the team calls poison.")
    clean: list[int]


class RefitResult(Contract):
    """`files` replaces some of the investigation's: scores.parquet, flagged.csv, summary.json; and verdicts.json, what
    it has learned from: {"poison": [index, ...], "clean": [...]}.
    """

    files: Tree
    finding: Finding


class RemedySpec(Contract):
    """Repair a model without some training images and verify it."""

    remedy_id: str
    method: Method
    weights: str
    card: ModelCard
    pack: Tree
    removed: str = Field(description="SHA-256 of a .npy blob: sorted int32 indices of training images.")
    epochs: int | None
    learning_rate: float | None
    seed: int
    affected: list[AffectedSpec]
    predicted: int = Field(description="The label that the affected images received.")
    triggered_pack: Tree | None
    index_id: str = Field(description="The model's fingerprint index, for methods that repair with it.")
    predicted_margins: list[float] | None = Field(None, description="What the preview expects, by affected image.")


class RemedyResult(Contract):
    """The repaired weights, checked as any model is, and the before/after report."""

    weights: str
    check: ModelCheckResult
    verification: Verification
    epochs: int | None = Field(description="None for a method that trains nothing.")
    learning_rate: float | None


class DrillSpec(Contract):
    """Plant a known poison in a copy of a pack, train on it, index, investigate, and score against the truth.

    Stage 0 plants and trains, stage 1 has a shard for each range of training images (shard payload: start, stop) as an
    index has, stage 2 does the rest.
    """

    drill_id: str
    pack: Tree
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


class DrillResult(Contract):
    """`poisoned` and `triggered` are packs with atlases; `index` is the model's over the poisoned pack.

    triggered: the victims with the trigger on them; None for an attack without a trigger.
    """

    poisoned: IngestResult
    triggered: IngestResult | None
    truth: str = Field(description="SHA-256 of a .npy blob: sorted int32 indices of the poisoned training images.")
    weights: str
    check: ModelCheckResult
    index: IndexResult
    outcome: DrillOutcome


class CompareSpec(Contract):
    """Run detectors on the affected images of a case. The index is ready when this runs."""

    comparison_id: str
    index_id: str
    weights: str
    card: ModelCard
    pack: Tree
    affected: list[AffectedSpec]
    predicted: int
    n_queries: int
    seed: int
    detectors: list[str]


class CompareResult(Contract):
    """`files` holds comparison.parquet and comparison.json; `summary` is what the latter says."""

    files: Tree
    summary: dict[str, object]


class CaseCheckSpec(Contract):
    """A closed case that a model is held against."""

    case_id: str
    name: str
    classes: list[str]
    predicted: int = Field(description="The wrong label of the case.")
    pack: Tree
    affected: list[AffectedSpec]
    triggered_pack: Tree | None
    psr_limit: float | None


class CheckSpec(Contract):
    """Ask a model about the affected images of closed cases."""

    check_id: str
    weights: str
    card: ModelCard
    cases: list[CaseCheckSpec]


class CheckResult(Contract):
    """What it said."""

    outcome: CheckOutcome


class MapSpec(Contract):
    """Lay the fingerprints of a case out. `scores` is the digest of its scores.parquet, which says who is a suspect."""

    map_id: str
    index_id: str
    scores: str
    method: str
    seed: int


class MapResult(Contract):
    """`files` holds points.npy (float32 [n_train, 2]) and map.json."""

    files: Tree


class SweepSpec(Contract):
    """Look for poison in every class of a pack. The index is ready when this runs."""

    sweep_id: str
    index_id: str
    weights: str
    card: ModelCard
    pack: Tree


class SweepResult(Contract):
    """`files` holds sweep.json, flagged.csv and flagged.json (label -> `index` of images, most suspicious first)."""

    files: Tree
    outcome: SweepOutcome
