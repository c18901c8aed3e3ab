"""Raw influence above a threshold: influence functions without the collapse.

Delta-Influence calls it "influence threshold" and sets the threshold by hand for each case (notebook
influence_threshold.ipynb, BadNet on CIFAR-10: 10, which flags 13,681 of 50,000 images, 481 of the 500 poisons). Such a
number means nothing for another model, so here an image is flagged when its influence is an outlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected, outliers


@dataclass(frozen=True)
class InfluenceThreshold:
    """Influence on the affected image itself, the mean over several."""

    deviations: float = 3.0
    """Robust standard deviations above the median from which an image is flagged."""

    name: ClassVar[str] = "influence"
    title: ClassVar[str] = "Influence threshold"
    source: ClassVar[str] = "Koh & Liang 2017, arXiv 1703.04730; threshold of arXiv 2411.13731"
    needs: ClassVar[tuple[Need, ...]] = ("influences",)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = influence on the affected images."""
        scores = evidence.influences[:, :, 0].mean(0)
        return detected(scores, outliers(scores, self.deviations))
