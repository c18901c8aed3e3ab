"""TRAK with one model (Park 2023, arXiv 2303.14186, equation 13).

With f = log(p / (1 - p)) the output function, phi the randomly projected gradients of f, Phi those of all training
images as rows, and Q = diag(1 - p_i):

    tau(x) = phi(x)^T (Phi^T Phi)^-1 Phi^T Q

The gradients come from the projector of the index (a random projection of each layer) and are projected once more to k
coordinates in one; f is minus our measurement, and the two signs cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected, outliers
from orfila_engine.evaluation import margins

Floats = NDArray[np.float64]

_RIDGE = 1e-8
"""Share of the mean diagonal that is added to Phi^T Phi, so that dependent coordinates can be factorised."""


@dataclass(frozen=True)
class Trak:
    """The attribution score of one model, the mean over several affected images."""

    k: int = 2048
    """Coordinates after projection: the default of the authors' library. At most half the number of images is used."""
    seed: int = 0
    """Of the projection."""
    deviations: float = 3.0
    """Robust standard deviations above the median from which an image is flagged; no threshold is published."""

    name: ClassVar[str] = "trak"
    title: ClassVar[str] = "TRAK score, one model"
    source: ClassVar[str] = "Park 2023, arXiv 2303.14186"
    needs: ClassVar[tuple[Need, ...]] = ("measurement_gradients", "training_predictions")

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = tau; positive where training on the image made the wrong prediction surer."""
        gradients, asked = evidence.measurement_gradients, evidence.affected_gradients
        k = min(self.k, max(1, evidence.n // 2), gradients.shape[1])
        if k < gradients.shape[1]:
            rng = np.random.default_rng(self.seed)
            projection = rng.standard_normal((gradients.shape[1], k), dtype=np.float32) / np.float32(np.sqrt(k))
            gradients, asked = gradients @ projection, asked @ projection
        margin = margins(evidence.training_predictions.logits, evidence.labels).astype(np.float64)
        scores = trak_scores(gradients, asked, 1 / (1 + np.exp(np.clip(margin, -60, 60)))).mean(0)
        return detected(scores, outliers(scores, self.deviations))


def trak_scores(gradients: NDArray[np.float32], asked: NDArray[np.float32], doubt: Floats) -> Floats:
    """tau [A, n] from Phi [n, k], phi of the affected images [A, k] and 1 - p_i [n]."""
    gram = gradients.T @ gradients  # [k, k]
    gram = gram.astype(np.float64)
    gram[np.diag_indices_from(gram)] += _RIDGE * max(float(np.trace(gram)) / len(gram), 1e-30)
    solved = np.linalg.solve(gram, asked.T.astype(np.float64))  # [k, A]
    return np.asarray((gradients @ solved).T * doubt)
