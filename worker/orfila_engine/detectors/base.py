"""What every detector is given, what it gives back, and what they share.

n training images, A affected images with one predicted label t, n_b transformed queries for each. Detectors see the
training data as it is; none of them sees the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.data import PackedDataset
from orfila_engine.devices import select_device
from orfila_engine.evaluation import Evaluation, evaluate, to_tensor
from orfila_engine.features import penultimate_features
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.gradients import GradientProjector, measurement
from orfila_engine.questions import Asked, ask_each

Within = Literal["all classes", "label"]
Need = Literal["influences", "features", "measurement_gradients", "training_predictions"]
"""Parts of `DetectorInput` that cost time and are shared between detectors."""
_GRADIENT_BATCH = 64


@dataclass(frozen=True)
class DetectorInput:
    """Everything that a detector may look at. Costly parts are made when first asked for, and kept."""

    packed: PackedDataset
    model: nn.Module
    card: ModelCard
    index: FingerprintIndex
    """Of this model and these training images."""
    images: NDArray[np.uint8]
    """[A, H, W, C] the affected images."""
    predicted: int
    """t, the label that all of them receive."""
    clean: NDArray[np.uint8]
    """[M, H, W, C] images that are known to be clean, for detectors that learn from such; usually the test images."""
    n_b: int = 50
    seed: int = 0
    device: str = "auto"

    @property
    def labels(self) -> NDArray[np.int64]:
        """[n] labels of the training images."""
        return self.packed.train[1]

    @property
    def n(self) -> int:
        """Number of training images."""
        return self.packed.n_train

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """The queries of each affected image, with the seeds that `investigate` takes."""
        return tuple(
            ask_each(self.index, self.model, self.card, self.images, self.predicted, n_b=self.n_b, seed=self.seed)
        )

    @cached_property
    def influences(self) -> NDArray[np.float32]:
        """[A, n, 1 + n_b] influence of every training image on every query; query 0 is the affected image itself."""
        products = self.index.influence(np.concatenate([a.fingerprints for a in self.asked]))
        return np.ascontiguousarray(products.reshape(self.n, len(self.asked), -1).transpose(1, 0, 2))

    def influence_on(self, pictures: Tensor, labels: Tensor) -> NDArray[np.float32]:
        """[n, Q] influence on other queries: pictures [Q, C, H, W] in [0, 1] with labels [Q]."""
        return self.index.influence(self.index.query(self.model, self.card, pictures, labels))

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """[n, F] penultimate features of the training images."""
        return penultimate_features(self.model, self.card, self.packed.train[0], device=self.device)

    @cached_property
    def training_predictions(self) -> Evaluation:
        """What the model says of its training images."""
        return evaluate(self.model, self.card, *self.packed.train, device=self.device)

    @cached_property
    def _projector(self) -> GradientProjector:
        shape = (self.card.channels, *self.card.input_size)
        return GradientProjector(self.model, shape, self.index.spec, select_device(self.device))

    @cached_property
    def measurement_gradients(self) -> NDArray[np.float32]:
        """[n, D] projected gradients of the measurement at every training image and its label, not whitened.

        m = log(1 - p) - log p with p the probability of the label, and the loss is -log p, so the loss gradient is
        (1 - p) times this one: the same direction, without the vanishing length of images that are learned well.
        Held in memory: 4 n D bytes.
        """
        pixels, labels = self.packed.train
        rows = np.empty((self.n, self._projector.dimension), dtype=np.float32)
        for start in range(0, self.n, _GRADIENT_BATCH):
            stop = min(start + _GRADIENT_BATCH, self.n)
            rows[start:stop] = self._gradient(to_tensor(pixels[start:stop]), torch.from_numpy(labels[start:stop]))
        return rows

    @cached_property
    def affected_gradients(self) -> NDArray[np.float32]:
        """[A, D] the same at the affected images and the label t."""
        labels = torch.full((len(self.images),), self.predicted)
        return self._gradient(to_tensor(self.images), labels)

    def _gradient(self, images: Tensor, labels: Tensor) -> NDArray[np.float32]:
        x = normalise(images.to(self._projector.device), self.card)
        return self._projector(x, labels, measurement).float().cpu().numpy()


@dataclass(frozen=True)
class Detected:
    """A detector's answer."""

    scores: NDArray[np.float32]
    """[n] the higher, the more suspicious."""
    flagged: NDArray[np.int64]
    """`index` of the images that it calls poison, the most suspicious first."""
    within: Within = "all classes"
    """Which training images it judged: all, or those that carry the affected label. Others have the lowest score."""
    note: str = ""
    """What a reader must know of this answer; usually nothing."""


class Detector(Protocol):
    """A way to find poison, with its settings."""

    name: ClassVar[str]
    title: ClassVar[str]
    """For people: the method."""
    source: ClassVar[str]
    """Where it was published."""
    needs: ClassVar[tuple[Need, ...]]

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score every training image and flag some."""
        ...


def settings_of(detector: Detector) -> dict[str, Any]:
    """The settings of a detector by name, for reports."""
    return {f.name: getattr(detector, f.name) for f in fields(detector) if f.repr}  # type: ignore[arg-type]


def detected(
    scores: NDArray[Any], flags: NDArray[np.bool_], within: Within = "all classes", note: str = ""
) -> Detected:
    """An answer from scores [n] and flags [n]."""
    scores = np.asarray(scores, dtype=np.float32)
    flagged = np.flatnonzero(flags)
    order = np.argsort(-scores[flagged], kind="stable")
    return Detected(scores, np.asarray(flagged[order], dtype=np.int64), within, note)


def outliers(scores: NDArray[Any], deviations: float) -> NDArray[np.bool_]:
    """Which scores [n] exceed the median by more than so many robust standard deviations (1.4826 x MAD)."""
    centre = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - centre)))
    return np.asarray(scores > centre + deviations * spread)


def by_class(labels: NDArray[np.int64], n_classes: int) -> Sequence[NDArray[np.int64]]:
    """`index` of the training images of each class, from their labels [n]."""
    return [np.flatnonzero(labels == c) for c in range(n_classes)]
