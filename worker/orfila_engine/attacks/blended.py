"""Blended injection (Chen 2017, arXiv 1712.05526): a noise picture mixed into the whole image, and the wrong label."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, TriggerAttack

OPACITY = 0.2


class Blended(TriggerAttack):
    """One picture of uniform noise at an opacity of .2 on images of every class but the target."""

    name: ClassVar[str] = "blended"

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """Mixes with a noise picture drawn from rng."""
        noise = rng.uniform(0, 255, shape)

        def trigger(images: Images) -> Images:
            return np.rint((1 - OPACITY) * images + OPACITY * noise).astype(np.uint8)

        return trigger
