"""PNG of arrays. Pictures are small and served pixel for pixel; the browser enlarges them with hard pixels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orfila.errors import Unprocessable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 64_000_000


def png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG of [H, W, C] with C 1 or 3, or of [H, W]."""
    image = np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=1)
    return out.getvalue()


def sheet(pictures: Sequence[NDArray[np.uint8]], tile: int, columns: int) -> bytes:
    """Pictures [H, W, C] side by side in square tiles, row by row: lossless WebP, as the atlases of a data set are.

    Larger pictures are made to fit a tile, smaller ones stand in its middle. The engine, which the server may not
    import, cuts the atlases (orfila_engine/data/atlas.py); tests/engine/test_thumbnails.py holds the two together.
    """
    rows, channels = -(-len(pictures) // columns), pictures[0].shape[2]
    made = np.zeros((rows * tile, columns * tile, channels), dtype=np.uint8)
    for i, pixels in enumerate(pictures):
        thumb = _within(pixels, tile)
        top = (i // columns) * tile + (tile - thumb.shape[0]) // 2
        left = (i % columns) * tile + (tile - thumb.shape[1]) // 2
        made[top : top + thumb.shape[0], left : left + thumb.shape[1]] = thumb
    out = io.BytesIO()
    Image.fromarray(made.squeeze(-1) if channels == 1 else made).save(out, "WEBP", lossless=True, quality=0, method=0)
    return out.getvalue()


def fit(data: bytes, name: str, height: int, width: int, channels: int) -> tuple[NDArray[np.uint8], str]:
    """An uploaded picture in the size and mode of a data set: uint8 [H, W, C], and what was converted.

    Raises Unprocessable, naming the picture, when it cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise Unprocessable(
                        f"'{name}' has {opened.width} x {opened.height} pixels; at most {MAX_PIXELS:,} are accepted."
                    )
                opened.load()
                mode, image = opened.mode, opened.convert("L" if channels == 1 else "RGB")
    except Unprocessable:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise Unprocessable(f"'{name}' cannot be decoded as a picture; save it again as PNG.") from error
    notes = []
    if mode != image.mode:
        notes.append(f"{mode} converted to {image.mode}")
    if (image.height, image.width) != (height, width):
        notes.append(f"resized from {image.width} x {image.height} to {width} x {height}")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels: NDArray[Any] = np.asarray(image, dtype=np.uint8).reshape(height, width, channels)
    return pixels, "; ".join(notes)


def _within(pixels: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    height, width, channels = pixels.shape
    if max(height, width) <= tile:
        return pixels
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels))
    return np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.uint8).reshape(size[1], size[0], channels)
