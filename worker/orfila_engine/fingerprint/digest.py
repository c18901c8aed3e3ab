"""Which model an index belongs to."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn

from orfila_engine.architectures import ModelCard


def model_digest(model: nn.Module, card: ModelCard) -> str:
    """SHA-256 of a model's card and of every tensor of its state, wherever it lies in memory."""
    digest = hashlib.sha256(json.dumps(card.to_metadata(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
