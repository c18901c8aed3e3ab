"""Label flips (Biggio 2012; Xiao 2012): wrong labels on pictures that are not changed. There is no trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, Labels, Planted, PoisonSettings, no_trigger


@dataclass(frozen=True)
class LabelFlip(PoisonSettings):
    """Images of one class get the target label; or, random, images of all classes get any other label.

    The poison success rate of one-class flips is the share of test images of the source class that are predicted as the
    target. Without a trigger it stays low unless most of the class is flipped, and it holds the ordinary confusion of
    the two classes. Of random flips it is the share of all test images that are predicted wrongly.
    """

    random: bool = False
    """Flip images of every class, each to a random other label."""

    name: ClassVar[str] = "label-flip"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.random and (self.source is not None or self.target is not None):
            raise ValueError("random label flips have neither source nor target; leave them out, or flip one class")

    @property
    def one_class(self) -> bool:
        """One victim class, unless random."""
        return not self.random

    def plant(self, images: Images, labels: Labels, n_classes: int, seed: int) -> Planted:
        """Choose images and flip their labels. Raises ValueError when there are too few for the rate."""
        rng = self.generator(seed)
        source, target = self.classes(labels, n_classes, rng)
        candidates = np.arange(len(labels)) if self.random else np.flatnonzero(labels == source)
        indices = self.choose(labels, candidates, rng)
        if self.random:
            flipped = (labels[indices] + rng.integers(1, n_classes, len(indices))) % n_classes
        else:
            flipped = np.full(len(indices), target)
        return Planted(
            attack=self.name,
            indices=indices,
            images=np.array(images[indices]),
            labels=flipped.astype(np.int64),
            source=None if self.random else source,
            target=None if self.random else target,
            trigger=no_trigger,
        )
