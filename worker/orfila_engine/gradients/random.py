"""Random projections that are the same bit for bit on every device, machine and sharding."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor


def projection(seed: int, layer: str, side: str, k: int, fan: int) -> Tensor:
    """A fixed projection of `fan` numbers to k, float64 [k, fan], on the CPU.

    Signs divided by sqrt(k) (Achlioptas 2003), so that inner products are kept in expectation; the identity when
    k == fan, and then nothing is lost. The signs are the raw bits of a counter-based generator (Philox, Salmon 2011)
    keyed by (seed, layer, side): numpy promises those bits for all versions, which it does not for normal numbers.
    """
    if k == fan:
        return torch.eye(k, dtype=torch.float64)
    key = int.from_bytes(hashlib.sha256(f"{seed}\0{layer}\0{side}".encode()).digest()[:16], "little")
    words = np.random.Philox(key=key).random_raw(-(-k * fan // 64))
    bits = np.unpackbits(np.asarray(words, dtype="<u8").view(np.uint8), count=k * fan, bitorder="little")
    return torch.from_numpy((2.0 * bits - 1.0).reshape(k, fan) / np.sqrt(k))
