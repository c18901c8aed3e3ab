"""Products of many stored rows with a few vectors, block by block, so that the rows never stand in memory as float32.

Rows are float16 (or float32) [n, D] on disk or in memory, and come as blocks; a block is made float32 in one buffer
that stays in the processor's cache, and torch's threads share the work on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.float16] | NDArray[np.float32]
Vectors = NDArray[np.float32]
Block = tuple[slice, Rows]
"""Where the rows stand among all n, and the rows: writable memory for torch's sake, valid until the next block."""

_LANES = 8
"""A product has a multiple of so many columns: 56 take a sixth less time than 53."""
BLOCK = 256
"""Rows in a block: 4 to 6 MB as float32 at usual lengths (the fastest of 64 to 2,048 measured)."""


def blocks_of(rows: Rows, size: int = BLOCK) -> Iterator[Block]:
    """The blocks of rows in memory."""
    for start in range(0, len(rows), size):
        at = slice(start, min(start + size, len(rows)))
        yield at, rows[at]


def multiply(blocks: Iterable[Block], n: int, vectors: Vectors) -> Vectors:
    """Every row times K vectors [K, D] -> [n, K]."""
    k = len(vectors)
    width = k if k < _LANES else -(-k // _LANES) * _LANES
    columns = torch.zeros(width, vectors.shape[1])
    columns[:k] = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    out = torch.empty(n, width)
    for at, rows in _as_float32(blocks):
        torch.mm(rows, columns.T, out=out[at])
    return out[:, :k].numpy()


def weighted_sum(blocks: Iterable[Block], weights: Vectors, dimension: int) -> NDArray[np.float64]:
    """K sums of rows: weights [K, n] -> [K, D]. Each block is summed in float32, the blocks in float64."""
    total = torch.zeros(len(weights), dimension, dtype=torch.float64)
    w = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))
    for at, rows in _as_float32(blocks):
        total += w[:, at] @ rows
    return total.numpy()


def _as_float32(blocks: Iterable[Block]) -> Iterator[tuple[slice, Tensor]]:
    buffer: Tensor | None = None
    for at, rows in blocks:
        stored = torch.from_numpy(rows)
        if stored.dtype == torch.float32:
            yield at, stored
            continue
        if buffer is None or len(buffer) < len(stored):
            buffer = torch.empty(stored.shape)
        yield at, buffer[: len(stored)].copy_(stored)
