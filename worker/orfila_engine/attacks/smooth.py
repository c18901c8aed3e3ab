"""Smooth trigger (after Zeng 2021, arXiv 2104.03413): a faint pattern of low frequencies, and the wrong label."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, TriggerAttack, add

AMPLITUDE = 24.0
_CUT_OFF = 4
"""Highest frequency, in waves across the image."""


class Smooth(TriggerAttack):
    """Random waves of at most 4 periods across the image, 24 grey levels at their highest, on every class."""

    name: ClassVar[str] = "smooth"

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """Adds the pattern drawn from rng."""
        height, width, _ = shape
        spectrum = np.fft.fft2(rng.standard_normal(shape), axes=(0, 1))
        rows = np.abs(np.fft.fftfreq(height) * height)[:, None, None]
        columns = np.abs(np.fft.fftfreq(width) * width)[None, :, None]
        spectrum[np.broadcast_to((rows > _CUT_OFF) | (columns > _CUT_OFF), shape)] = 0
        waves = np.real(np.fft.ifft2(spectrum, axes=(0, 1)))
        pattern = AMPLITUDE * waves / np.abs(waves).max()
        return lambda images: add(images, pattern)
