"""Thumbnail atlases: lossless sheets of 32 x 32 tiles. Small pictures keep their size; larger ones fit 64 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EDGE = 32
PER_SHEET = EDGE * EDGE
MAX_TILE = 64


def about(shape: tuple[int, ...]) -> dict[str, int]:
    """What meta.json says of the sheets of pictures [N, H, W, C]."""
    n, height, width, _ = shape
    tile = min(MAX_TILE, max(height, width))
    return {"tile": tile, "columns": EDGE, "rows": EDGE, "count": -(-n // PER_SHEET)}


def write(folder: Path, pixels: NDArray[np.uint8], first: int = 0) -> dict[str, int]:
    """Write the sheets of pictures [N, H, W, C], numbered from `first` on; returns what `about` says of them."""
    made = about(pixels.shape)
    tile, channels = made["tile"], pixels.shape[3]
    for number in range(made["count"]):
        block = pixels[number * PER_SHEET : (number + 1) * PER_SHEET]
        # Every sheet has the full size, the last one too: whoever scales it must not have to know how full it is.
        sheet = np.zeros((EDGE * tile, EDGE * tile, channels), dtype=np.uint8)
        for i, image in enumerate(block):
            thumb = _thumbnail(image, tile)
            top, left = (i // EDGE) * tile, (i % EDGE) * tile
            top, left = top + (tile - thumb.shape[0]) // 2, left + (tile - thumb.shape[1]) // 2
            sheet[top : top + thumb.shape[0], left : left + thumb.shape[1]] = thumb
        Image.fromarray(sheet.squeeze()).save(
            folder / f"atlas-{first + number:04d}.webp", lossless=True, quality=0, method=0
        )
    return made


def _thumbnail(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    height, width, channels = image.shape
    if max(height, width) <= tile:
        return image
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(image.squeeze()).resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8).reshape(size[1], size[0], channels)
