"""The header of an uploaded safetensors file: what it says about itself, read without torch.

The worker checks names and shapes against the architecture before it loads anything; here the header only has to be
sound enough to read the model card that Orfila's own exports carry in their metadata.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

from pydantic import ValidationError

from orfila.errors import Unprocessable
from orfila.models.schemas import ModelCard
from orfila.storage.sniff import HOW_TO_EXPORT, MAX_SAFETENSORS_HEADER

MAX_TENSORS = 100_000
_LISTS = ("classes", "input_size", "channels", "mean", "std")


def read_metadata(file: BinaryIO, size: int) -> dict[str, str]:
    """The metadata of a safetensors file. Raises Unprocessable when its header is not sound."""
    return metadata_of(read_header(file, size))


def read_header(file: BinaryIO, size: int) -> dict[str, Any]:
    """The header of a safetensors file: tensor -> dtype, shape, offsets. Raises Unprocessable when it is not sound."""
    start = file.read(8)
    (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
    if not 2 <= length <= min(MAX_SAFETENSORS_HEADER, size - 8):
        raise Unprocessable(f"The safetensors header has an impossible length. {HOW_TO_EXPORT}", code="bad_safetensors")
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unprocessable(
            f"The safetensors header is not sound JSON. {HOW_TO_EXPORT}", code="bad_safetensors"
        ) from error
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise Unprocessable(
            f"The safetensors header names no tensors, or more than {MAX_TENSORS:,}. {HOW_TO_EXPORT}",
            code="bad_safetensors",
        )
    return header


def metadata_of(header: dict[str, Any]) -> dict[str, str]:
    """The metadata in a header. Raises Unprocessable when it is not text."""
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise Unprocessable(f"The safetensors metadata is not text. {HOW_TO_EXPORT}", code="bad_safetensors")
    return metadata


def card_of(metadata: dict[str, str]) -> ModelCard | None:
    """The model card in the metadata; None when there is none. Raises Unprocessable when it cannot be read."""
    if "architecture" not in metadata:
        return None
    fields: dict[str, Any] = {"architecture": metadata["architecture"]}
    try:
        fields |= {name: json.loads(metadata[name]) for name in _LISTS if name in metadata}
        return ModelCard.model_validate(fields)
    except (ValueError, RecursionError, ValidationError) as error:
        raise Unprocessable(
            "The model card in the file's metadata cannot be read: it needs architecture, and as JSON classes, "
            "input_size, channels, mean and std. Export it again, or give the card with the request.",
            code="bad_model_card",
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result
