"""What a safetensors file says about itself by the names and shapes of its tensors: enough to fill in a form.

`signatures.json` tells how each architecture is recognised; the engine writes it, and a test keeps it true.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from orfila.models import schemas, weights

_COUNTER = "num_batches_tracked"
_TABLE = Path(__file__).with_name("signatures.json")


def guess(file: BinaryIO, size: int) -> schemas.CardGuess:
    """The card in the metadata, if there is one, and what fits the tensors. Raises Unprocessable for a bad header."""
    header = weights.read_header(file, size)
    card = weights.card_of(weights.metadata_of(header))
    shapes = {name: about["shape"] for name, about in header.items() if _is_tensor(name, about)}
    fitting = [entry for entry in _table() if _fits(entry, shapes)]
    first = fitting[0] if fitting else None
    return schemas.CardGuess(
        card=card,
        architectures=[entry["name"] for entry in fitting],
        n_classes=None if first is None else _dimension(first["head"], shapes),
        channels=None if first is None else _dimension(first["stem"], shapes) or 3,
        n_parameters=sum(_product(shape) for shape in shapes.values()),
    )


def _fits(entry: dict[str, Any], shapes: dict[str, list[int]]) -> bool:
    apart = {*entry["head"], *entry["stem"], *entry["sized"]}
    if not apart <= set(shapes):
        return False
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()) if name not in apart)
    return bool(hashlib.sha256(lines.encode()).hexdigest() == entry["digest"])


def _dimension(axes: dict[str, int], shapes: dict[str, list[int]]) -> int | None:
    """The length that all these tensors have along their axes; None where there are none or they differ."""
    lengths = {shapes[name][axis] for name, axis in axes.items() if axis < len(shapes[name])}
    return lengths.pop() if len(lengths) == 1 else None


def _is_tensor(name: str, about: Any) -> bool:
    if name == "__metadata__" or name.endswith(_COUNTER) or not isinstance(about, dict):
        return False
    shape = about.get("shape")
    return isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape)


def _product(shape: list[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


@lru_cache(maxsize=1)
def _table() -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = json.loads(_TABLE.read_text())
    return table
