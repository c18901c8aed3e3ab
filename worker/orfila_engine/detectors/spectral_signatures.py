"""Spectral Signatures (Tran 2018, arXiv 1811.00636, algorithm 1): poison lies far out along the top singular direction.

For each class: the penultimate features, centred, and the square of their coordinate along the top right singular
vector. The 1.5 eps n_c images with the largest are removed from every class c, where eps bounds the share of poison in
the poisoned class. It must be known: Tran 2018 plants 500 among 5,000, eps = .1, and removes 15 % of each class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from orfila_engine.detectors.base import Detected, DetectorInput, Need, by_class, detected

_REMOVED = 1.5


@dataclass(frozen=True)
class SpectralSignatures:
    """Outliers along the top singular direction of each class."""

    expected_share: float = 0.1
    """eps: the expected share of poison in the poisoned class. The method does not find it out."""

    name: ClassVar[str] = "spectral-signatures"
    title: ClassVar[str] = "Spectral Signatures"
    source: ClassVar[str] = "Tran 2018, arXiv 1811.00636"
    needs: ClassVar[tuple[Need, ...]] = ("features",)

    def __post_init__(self) -> None:
        if not 0 < self.expected_share < 1:
            raise ValueError(f"expected_share is {self.expected_share}; it is a share of a class between 0 and 1")

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = squared coordinate divided by its mean in the class, so that classes can be compared."""
        scores = np.zeros(evidence.n, dtype=np.float32)
        flags = np.zeros(evidence.n, dtype=bool)
        for rows in by_class(evidence.labels, len(evidence.card.classes)):
            if len(rows) < 2:
                continue  # one image has no direction
            own = spectral_scores(evidence.features[rows])
            scores[rows] = own
            count = min(len(rows), round(_REMOVED * self.expected_share * len(rows)))
            flags[rows[np.argsort(-own, kind="stable")[:count]]] = True
        return detected(scores, flags)


def spectral_scores(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """[m] squared coordinates of centred features [m, F] along their top right singular vector, of mean 1."""
    centred = features.astype(np.float64)
    centred -= centred.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    squares = (centred @ vectors[:, -1]) ** 2
    return np.asarray(squares / max(float(squares.mean()), 1e-30))
