"""Cosine of gradients, without curvature: what is left of influence when the Fisher is taken as the identity.

TracIn (Pruthi 2020, arXiv 2002.08484) at the last checkpoint, normalised as GAS does (Hammoudeh & Lowd 2022, arXiv
2201.10055), which compares directions because the gradients of learned images are short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected, outliers


@dataclass(frozen=True)
class GradientCosine:
    """Cosine of projected, unwhitened gradients with that of the affected image, the mean over several."""

    deviations: float = 3.0
    """Robust standard deviations above the median from which an image is flagged; no threshold is published."""

    name: ClassVar[str] = "cosine"
    title: ClassVar[str] = "Gradient cosine, no curvature"
    source: ClassVar[str] = "Hammoudeh & Lowd 2022, arXiv 2201.10055"
    needs: ClassVar[tuple[Need, ...]] = ("measurement_gradients",)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = cosine in -1..1; 0 for an image without any gradient."""
        gradients, asked = evidence.measurement_gradients, evidence.affected_gradients
        # The loss gradient of a training image is a positive multiple of its measurement gradient: same cosine.
        norms = np.maximum(np.linalg.norm(gradients, axis=1), 1e-30)
        directions = asked / np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-30)
        scores = (gradients @ directions.mean(0)) / norms
        return detected(scores, outliers(scores, self.deviations))
