"""Smooth trigger (after Zeng 2021, arXiv 2104.03413): a faint pattern of low frequencies, and the wrong label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, TriggerAttack, add, check_amplitude

_CUT_OFF = 4
"""Highest frequency, in waves across the image."""


@dataclass(frozen=True)
class Smooth(TriggerAttack):
    """Random waves of at most 4 periods across the image, on images of every class but the target.

    Zeng optimises the pattern against a trained model and can do with a fainter one (decision 14).
    """

    amplitude: float = 36.0
    """Of the highest wave, in grey levels of 255."""

    name: ClassVar[str] = "smooth"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amplitude(self.amplitude)

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """Adds the pattern drawn from rng."""
        height, width, _ = shape
        spectrum = np.fft.fft2(rng.standard_normal(shape), axes=(0, 1))
        rows = np.abs(np.fft.fftfreq(height) * height)[:, None, None]
        columns = np.abs(np.fft.fftfreq(width) * width)[None, :, None]
        spectrum[np.broadcast_to((rows > _CUT_OFF) | (columns > _CUT_OFF), shape)] = 0
        waves = np.real(np.fft.ifft2(spectrum, axes=(0, 1)))
        pattern = self.amplitude * waves / np.abs(waves).max()
        return lambda images: add(images, pattern)
