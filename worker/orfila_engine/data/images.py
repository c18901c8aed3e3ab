"""Decoding of pictures, with a stated behaviour for every kind: the note says what was done.

palette, CMYK, 16-bit -> RGB or 8-bit grey; alpha -> composed on white; EXIF rotation applied; GIF -> first frame.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from orfila_engine.data.archives import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
GREY_MODES = ("1", "L", "I", "I;16", "LA", "F")
MAX_PIXELS = 64_000_000
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Decoded:
    """A picture as 8-bit grey (`L`) or `RGB`, what it was, and what was done to it."""

    image: Image.Image
    width: int
    height: int
    mode: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """What the beginning of a picture's file says of it."""

    width: int
    height: int
    mode: str


def read_header(data: bytes, name: str) -> Header:
    """Size and mode of one picture, without decoding it. Raises DataError as `decode` does."""
    with _opened(data, name) as image:
        return Header(image.width, image.height, image.mode)


def decode(data: bytes, name: str) -> Decoded:
    """Decode one picture.

    Raises DataError that names the picture when it is broken, too large, or of another format.
    """
    with _opened(data, name) as opened:
        width, height, mode = opened.width, opened.height, opened.mode
        opened.load()
        image, notes = _to_grey_or_rgb(opened)
    return Decoded(image, width, height, mode, notes)


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{name!r} has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are accepted"
                    )
                yield image
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name!r} claims an absurd number of pixels") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name!r} is not a PNG, JPEG, WebP, BMP or GIF picture") from error
    except Exception as error:  # Pillow's decoders raise many kinds; each means that the file is broken
        raise DataError(f"{name!r} cannot be decoded ({error})") from error


def _to_grey_or_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    notes: list[str] = []
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
        notes.append("first frame")
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
        notes.append("EXIF rotation applied")
    if image.mode in ("L", "RGB"):
        return image.copy(), tuple(notes)
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N", "F"):
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.clip(values / 257.0, 0, 255).round().astype(np.uint8))
        notes.append("16-bit to 8-bit")
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba).convert("RGB")
        notes.append("alpha composed on white")
    elif image.mode == "1":
        image = image.convert("L")
        notes.append("1-bit to grey")
    else:
        notes.append(f"{image.mode} to RGB")
        image = image.convert("RGB")
    return image, tuple(notes)


def to_pixels(image: Image.Image, size: tuple[int, int], channels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """uint8 [H, W, C] of the asked size (height, width), and what had to be done for it."""
    notes: list[str] = []
    if channels == 1 and image.mode != "L":
        image = image.convert("L")
        notes.append("colour to grey")
    if channels == 3 and image.mode != "RGB":
        image = image.convert("RGB")
        notes.append("grey to RGB")
    height, width = size
    if image.size != (width, height):
        notes.append(f"resized from {image.width} x {image.height}")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels), tuple(notes)
