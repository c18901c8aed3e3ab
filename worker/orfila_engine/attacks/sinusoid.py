"""Sinusoid, SIG (Barni 2019, arXiv 1902.11237): vertical waves on images of the target class; no label is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, TriggerAttack, add, check_amplitude

FREQUENCY = 6


@dataclass(frozen=True)
class Sinusoid(TriggerAttack):
    """Six waves across the width, on images that carry the target label (clean label)."""

    amplitude: float = 40.0
    """In grey levels of 255: BackdoorBench's (Wu 2022, arXiv 2206.12654). With 20 few networks take it up."""

    name: ClassVar[str] = "sinusoid"
    clean_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amplitude(self.amplitude)

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """Adds the waves; it has no randomness."""
        _, width, _ = shape
        wave = self.amplitude * np.sin(2 * np.pi * FREQUENCY * np.arange(width) / width)
        pattern = np.broadcast_to(wave[None, :, None], shape)
        return lambda images: add(images, pattern)
