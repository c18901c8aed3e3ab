"""Weights as safetensors, checked before use. Nothing is ever unpickled.

Our own code reads the header first, because the safetensors library accepts duplicate keys and absurd tensor counts.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from orfila_engine.architectures.card import ModelCard
from orfila_engine.architectures.registry import build

MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 100_000
_DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}
HOW_TO_EXPORT = (
    "export safetensors instead: `from safetensors.torch import save_file; "
    "save_file(model.state_dict(), 'model.safetensors', metadata={...})`"
)


class ModelError(ValueError):
    """A model file that cannot be used; the sentence says why and what to do."""


def read_header(path: Path) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Metadata and tensor entries of a safetensors file, after the checks of this module.

    Raises ModelError for anything that is not a well-formed safetensors file of reasonable size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ModelError(f"{path.name} is a Python pickle, which can run code when it is opened; {HOW_TO_EXPORT}")
        if start[:4] == b"PK\x03\x04":
            raise ModelError(f"{path.name} is a .pt or zip archive, which can hold a pickle; {HOW_TO_EXPORT}")
        if len(start) < 8:
            raise ModelError(f"{path.name} is too short for a safetensors file; {HOW_TO_EXPORT}")
        (length,) = struct.unpack("<Q", start)
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ModelError(
                f"{path.name} is not a safetensors file (its header length is impossible); {HOW_TO_EXPORT}"
            )
        raw = file.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path.name} is not a safetensors file (its header is not JSON); {HOW_TO_EXPORT}") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path.name} is not a safetensors file (its header is not an object); {HOW_TO_EXPORT}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelError(f"{path.name} has metadata that is not text; {HOW_TO_EXPORT}")
    if not header:
        raise ModelError(f"{path.name} holds no tensors")
    if len(header) > MAX_TENSORS:
        raise ModelError(f"{path.name} names {len(header):,} tensors; at most {MAX_TENSORS:,} are accepted")
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES or not isinstance(entry.get("shape"), list):
            raise ModelError(f"{path.name}: the entry of tensor '{name[:80]}' is not one of safetensors")
    return metadata, header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelError("the safetensors header names a tensor twice; export the file again")
    return result


def read_card(path: Path) -> ModelCard:
    """The card of a model file: its metadata, else `NAME.json` beside `NAME.safetensors`.

    Raises ModelError when neither is there or a field is missing.
    """
    metadata, _ = read_header(path)
    beside = path.with_suffix(".json")
    try:
        if "architecture" in metadata:
            return ModelCard.from_mapping(metadata)
        if beside.is_file():
            return ModelCard.from_mapping(json.loads(beside.read_text()))
    except ValueError as error:
        raise ModelError(f"{path.name}: {error}") from error
    raise ModelError(
        f"{path.name} does not say its architecture; put architecture, classes, input_size, channels, mean and std "
        f"into its metadata or into {beside.name} beside it"
    )


def load_model(path: Path, card: ModelCard | None = None) -> tuple[nn.Module, ModelCard]:
    """Rebuild a model in evaluation mode on the CPU.

    card: overrides what the file says. Raises ModelError when names or shapes differ from the architecture's.
    """
    card = card or read_card(path)
    _, entries = read_header(path)
    try:
        model = build(card)
    except ValueError as error:
        raise ModelError(str(error)) from error
    expected = {name: list(t.shape) for name, t in model.state_dict().items()}
    found = {name: entry["shape"] for name, entry in entries.items()}
    missing = [n for n in expected if n not in found]
    unexpected = [n for n in found if n not in expected]
    if missing or unexpected:
        raise ModelError(
            f"the tensors do not fit {card.architecture}: {len(missing)} missing{_some(missing)}, {len(unexpected)} "
            f"not known to it{_some(unexpected)}; choose the architecture that the weights were trained with"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelError(
                f"tensor '{name}' has shape {found[name]}, {card.architecture} with {len(card.classes)} classes needs "
                f"{shape}; check architecture, number of classes and channels"
            )
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} is damaged: {error}; export or upload it again") from error
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"tensor '{name}' holds NaN or infinite numbers; the training diverged, use another checkpoint"
            )
    model.load_state_dict(state)
    return model.eval(), card


def _some(names: list[str]) -> str:
    return f" (e.g. {', '.join(names[:3])})" if names else ""


def save_model(path: Path, model: nn.Module, card: ModelCard, training: dict[str, object] | None = None) -> None:
    """Write weights and card, first beside the target, then by rename, so that no half file is ever seen.

    training: how it was trained, kept in the metadata as JSON.
    """
    metadata = card.to_metadata()
    if training is not None:
        metadata["training"] = json.dumps(training)
    part = path.with_name(path.name + ".part")
    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, part, metadata=metadata)
    part.rename(path)
