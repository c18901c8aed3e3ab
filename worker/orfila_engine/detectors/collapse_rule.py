"""The collapse rule, ours: direction of the collapse, mixture over the suspects, refinement, mark (docs/method.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.collapse import collapse, query_direction
from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected
from orfila_engine.evidence import Calibration
from orfila_engine.mark import pictures_of
from orfila_engine.questions import Suspects, suspects_of


@dataclass(frozen=True)
class CollapseRule:
    """Suspects are the images that carry the affected label; flagged above `collapse.flag_threshold`."""

    suspects: Suspects = "label"
    mark: bool = True
    """Whether what the flagged images share is looked for in the others."""

    name: ClassVar[str] = "collapse"
    title: ClassVar[str] = "Collapse rule (ours)"
    source: ClassVar[str] = "docs/method.md"
    needs: ClassVar[tuple[Need, ...]] = ("influences",)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = rank by posterior, then by collapse score, 1 for the surest; 0 for images that are no suspects."""
        rows = suspects_of(evidence.labels, evidence.predicted, self.suspects)
        direction = query_direction([a.fingerprints for a in evidence.asked])
        calibration = Calibration(evidence.index, evidence.packed, evidence.model, evidence.card, self.suspects)
        counterparts = calibration.of(evidence.predicted).cosines
        asked = evidence.index, evidence.packed, evidence.predicted, self.suspects
        pictures = pictures_of(*asked) if self.mark else None
        result = collapse(evidence.index.suspects(rows), direction, counterparts=counterparts, pictures=pictures)
        order = np.lexsort((result.score, result.posterior))
        scores = np.zeros(evidence.n, dtype=np.float32)
        scores[result.suspects[order]] = np.arange(1, len(order) + 1) / len(order)
        flags = np.zeros(evidence.n, dtype=bool)
        flags[result.suspects] = result.flagged
        return detected(scores, flags, "label" if self.suspects == "label" else "all classes")


@dataclass(frozen=True)
class CollapseRuleGradients(CollapseRule):
    """The same without looking at the pictures."""

    mark: bool = False

    name: ClassVar[str] = "collapse-gradients"
    title: ClassVar[str] = "Collapse rule, gradients alone (ours)"


@dataclass(frozen=True)
class CollapseRuleEveryClass(CollapseRule):
    """The same with every training image as a suspect."""

    suspects: Suspects = "all"

    name: ClassVar[str] = "collapse-all"
    title: ClassVar[str] = "Collapse rule, every image a suspect (ours)"
