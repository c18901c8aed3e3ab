"""The collapse rule, ours: direction of the collapse, mixture over the suspects, refinement (docs/method.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.collapse import collapse, query_direction
from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected
from orfila_engine.evidence import Calibration
from orfila_engine.questions import Suspects, suspects_of

_BELOW = -2.0
"""Score of an image that is no suspect: below every cosine."""


@dataclass(frozen=True)
class CollapseRule:
    """Suspects are the images that carry the affected label; flagged above `collapse.flag_threshold`."""

    suspects: Suspects = "label"

    name: ClassVar[str] = "collapse"
    title: ClassVar[str] = "Collapse rule (ours)"
    source: ClassVar[str] = "docs/method.md"
    needs: ClassVar[tuple[Need, ...]] = ("influences",)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = collapse score; images that are no suspects come last."""
        rows = suspects_of(evidence.labels, evidence.predicted, self.suspects)
        direction = query_direction([a.fingerprints for a in evidence.asked])
        calibration = Calibration(evidence.index, evidence.packed, evidence.model, evidence.card, self.suspects)
        counterparts = calibration.of(evidence.predicted).cosines
        result = collapse(evidence.index.suspects(rows), direction, counterparts=counterparts)
        scores = np.full(evidence.n, _BELOW, dtype=np.float32)
        scores[result.suspects] = result.score
        flags = np.zeros(evidence.n, dtype=bool)
        flags[result.suspects] = result.flagged
        return detected(scores, flags, "label" if self.suspects == "label" else "all classes")


@dataclass(frozen=True)
class CollapseRuleEveryClass(CollapseRule):
    """The same with every training image as a suspect."""

    suspects: Suspects = "all"

    name: ClassVar[str] = "collapse-all"
    title: ClassVar[str] = "Collapse rule, every image a suspect (ours)"
