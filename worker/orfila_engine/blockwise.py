"""Products of many stored rows with a few vectors, block by block, so that the rows never stand in memory as float32.

Rows are float16 (or float32) [n, D] on disk or in memory, and come as blocks; a block is made float32 in one buffer
that stays in the processor's cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orfila_engine.threads import in_order

Rows = NDArray[np.float16] | NDArray[np.float32]
Vectors = NDArray[np.float32]
Block = tuple[slice, Rows]
"""Where the rows stand among all n, and the rows: writable memory for torch's sake."""
Result = TypeVar("Result")

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

    def products(at: slice, rows: Tensor) -> None:
        torch.mm(rows, columns.T, out=out[at])

    for _ in _each(blocks, products):
        pass
    return out[:, :k].numpy()


def weighted_sum(blocks: Iterable[Block], weights: Vectors, dimension: int) -> NDArray[np.float64]:
    """K sums of rows: weights [K, n] -> [K, D]. Each block is summed in float32, the blocks in float64, in order."""
    total = torch.zeros(len(weights), dimension, dtype=torch.float64)
    w = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))
    for part in _each(blocks, lambda at, rows: w[:, at] @ rows):
        total += part
    return total.numpy()


def _each(blocks: Iterable[Block], work: Callable[[slice, Tensor], Result]) -> Iterator[Result]:
    """What is made of every block as float32, in order."""
    held = threading.local()

    def one(block: Block) -> Result:
        at, rows = block
        stored = torch.from_numpy(rows)
        if stored.dtype == torch.float32:
            return work(at, stored)
        if getattr(held, "buffer", None) is None or len(held.buffer) < len(stored):
            held.buffer = torch.empty(stored.shape)
        return work(at, held.buffer[: len(stored)].copy_(stored))

    return in_order(one, blocks)
