"""Bodies of models, their check, and their predictions on the test split."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Request, Response, Sha256, Timestamp

ModelState = Literal["checking", "ready", "failed"]


class ModelCard(Request):
    """What is needed to rebuild a model: given here, in the safetensors metadata, or both (this one wins)."""

    architecture: str
    classes: list[str] = Field(min_length=2)
    input_size: tuple[int, int] = Field(description="Height, width.")
    channels: Literal[1, 3]
    mean: list[float]
    std: list[float]


class CardGuess(Response):
    """What an uploaded file says about itself: enough to fill in a card."""

    card: ModelCard | None = Field(description="The card in the file's metadata, if it has one.")
    architectures: list[str] = Field(
        description="Architectures whose tensors have these names and shapes, the likeliest first; empty if none."
    )
    n_classes: int | None
    channels: int | None
    n_parameters: int = Field(description="Numbers in all tensors.")


class ModelCreate(Request):
    """Makes a model of a finished safetensors upload; it is checked on the data set's test split at once."""

    upload_id: str
    name: str = Field(min_length=1, max_length=120)
    dataset_id: str
    card: ModelCard | None = None


class ClassifierModel(Response):
    """A trained classifier."""

    id: str
    project_id: str
    dataset_id: str
    name: str
    state: ModelState
    error: str | None
    job_id: str | None
    created_at: Timestamp
    sha256: Sha256
    card: ModelCard | None
    n_parameters: int | None
    accuracy_train: float | None = Field(description="Share of (at most 5,000) training images predicted as labelled.")
    accuracy_test: float | None
    warnings: list[str]
    preserved: bool = Field(False, description="Kept as evidence: it cannot be deleted until that is lifted.")
    remedy_id: str | None = Field(description="The remedy that made this model, if one did.")
    drill_id: str | None = Field(description="The drill that made this model, if one did.")


class ConfusionMatrix(Response):
    """Counts on the test split: `matrix[true][predicted]`."""

    classes: list[str]
    matrix: list[list[int]]


class Prediction(Response):
    """What the model says of one test image."""

    index: int
    name: str
    label: int
    predicted: int
    confidence: float = Field(description="Softmax probability of the predicted class.")
    margin: float = Field(description="logit of the predicted class minus logsumexp of the others.")


class Architecture(Response):
    """An architecture that models can be built from."""

    name: str
    description: str
    n_parameters: int | None
