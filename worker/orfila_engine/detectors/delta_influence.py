"""Delta-Influence: the rule of the paper, and its two ablations (arXiv 2411.13731, sections 3 and 5.3).

Training image i is flagged when at least n_b - n_tolerate of its n_b influence shifts lie below the threshold. The
paper transforms the picture *and* draws another label; the ablations do one of the two. Settings of the paper:
n_b = 50, threshold 0, n_tolerate 1 (the authors' notebooks move both by hand, against the truth, for each case).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from orfila_engine.collapse import N_TOLERATE, paper_rule
from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected


@dataclass(frozen=True)
class DeltaInfluence:
    """The paper's rule: transformed pictures with random other labels."""

    threshold: float = 0.0
    n_tolerate: int = N_TOLERATE

    name: ClassVar[str] = "delta-influence"
    title: ClassVar[str] = "Delta-Influence (paper rule)"
    source: ClassVar[str] = "arXiv 2411.13731"
    needs: ClassVar[tuple[Need, ...]] = ("influences",)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = how many shifts lie below the threshold; among equals the more negative mean shift is first."""
        shifts = [self.shifts(evidence, i) for i in range(len(evidence.images))]
        counts, flags = zip(
            *(paper_rule(s, threshold=self.threshold, n_tolerate=self.n_tolerate) for s in shifts), strict=True
        )
        mean = np.mean([s.mean(1) for s in shifts], axis=0)
        rank = np.empty(len(mean))
        rank[np.argsort(mean)] = np.linspace(1, 0, len(mean), endpoint=False)
        return detected(np.maximum.reduce(counts) + 0.5 * rank, np.logical_or.reduce(flags))

    def shifts(self, evidence: DetectorInput, number: int) -> NDArray[np.float32]:
        """[n, n_b] influence on each transformed query less that on affected image `number` itself."""
        influences = evidence.influences[number]
        return np.asarray(influences[:, 1:] - influences[:, :1])


@dataclass(frozen=True)
class ImageOnly(DeltaInfluence):
    """Ablation: the picture is transformed, the label stays t."""

    name: ClassVar[str] = "image-only"
    title: ClassVar[str] = "Delta-Influence, image transforms only"

    def shifts(self, evidence: DetectorInput, number: int) -> NDArray[np.float32]:
        """[n, n_b]; see DeltaInfluence. The pictures are those of the full rule."""
        pictures = evidence.asked[number].inputs[1:]
        labels = torch.full((len(pictures),), evidence.predicted)
        return np.asarray(evidence.influence_on(pictures, labels) - evidence.influences[number][:, :1])


@dataclass(frozen=True)
class LabelOnly(DeltaInfluence):
    """Ablation: the picture stays, the label is another one."""

    name: ClassVar[str] = "label-only"
    title: ClassVar[str] = "Delta-Influence, label changes only"

    def shifts(self, evidence: DetectorInput, number: int) -> NDArray[np.float32]:
        """[n, n_b]; see DeltaInfluence. The labels are those of the full rule; each distinct one is asked once."""
        asked = evidence.asked[number]
        distinct, column = torch.unique(torch.from_numpy(asked.labels[1:]), return_inverse=True)
        influences = evidence.influence_on(asked.inputs[:1].expand(len(distinct), -1, -1, -1), distinct)
        return np.asarray(influences[:, column.numpy()] - evidence.influences[number][:, :1])
