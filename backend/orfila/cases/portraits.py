"""What the flagged images share, as pictures: a fixed trigger stands out in the mean and in the variance."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orfila import pictures
from orfila.errors import Conflict

PortraitName = Literal["flagged_mean", "class_mean", "difference", "variance"]
_BLOCK = 1024


def draw(name: PortraitName, pixels: NDArray[np.uint8], flagged: NDArray[np.intp], others: NDArray[np.intp]) -> bytes:
    """A portrait as PNG.

    pixels: [N, H, W, C], may be memory-mapped. flagged: indices. others: of the same class, not flagged.
    - flagged_mean, class_mean: the mean picture of the flagged, of the others;
    - difference: their signed difference, so amplified that the greatest is full scale; mid-grey is none;
    - variance: standard deviation of the flagged in each pixel (mean over channels), so amplified; black is none.

    Raises Conflict when there are no images to draw.
    """
    needed = {"flagged_mean": (flagged,), "class_mean": (others,), "variance": (flagged,)}.get(name, (flagged, others))
    if any(len(indices) == 0 for indices in needed):
        raise Conflict("There are no images on one side of the threshold; move it.", code="nothing_to_draw")
    if name == "flagged_mean":
        return pictures.png(_to_bytes(_moments(pixels, flagged)[0]))
    if name == "class_mean":
        return pictures.png(_to_bytes(_moments(pixels, others)[0]))
    if name == "variance":
        deviation = np.sqrt(_moments(pixels, flagged)[1]).mean(axis=2)
        return pictures.png(_to_bytes(255 * deviation / max(float(deviation.max()), 1e-9)))
    difference = _moments(pixels, flagged)[0] - _moments(pixels, others)[0]
    return pictures.png(_to_bytes(128 + 127 * difference / max(float(np.abs(difference).max()), 1e-9)))


def _moments(pixels: NDArray[np.uint8], indices: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance [H, W, C] over some images, read a block at a time."""
    total = np.zeros(pixels.shape[1:], dtype=np.float64)
    squares = np.zeros_like(total)
    for start in range(0, len(indices), _BLOCK):
        block = pixels[indices[start : start + _BLOCK]].astype(np.float64)
        total += block.sum(0)
        squares += (block**2).sum(0)
    mean = total / len(indices)
    return mean, np.maximum(squares / len(indices) - mean**2, 0)


def _to_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
