"""PNG of arrays. Pictures are small and served pixel for pixel; the browser enlarges them with hard pixels."""

from __future__ import annotations

import io
import warnings
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
