"""Sinusoid, SIG (Barni 2019, arXiv 1902.11237): vertical waves on images of the target class; no label is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, TriggerAttack, add

AMPLITUDE = 20.0
FREQUENCY = 6


class Sinusoid(TriggerAttack):
    """Six waves across the width, 20 grey levels high, on images that carry the target label (clean label)."""

    name: ClassVar[str] = "sinusoid"
    clean_label: ClassVar[bool] = True

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """Adds the waves; it has no randomness."""
        _, width, _ = shape
        wave = AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * np.arange(width) / width)
        pattern = np.broadcast_to(wave[None, :, None], shape)
        return lambda images: add(images, pattern)
