"""The suspects' gradients as the collapse rule sees them, whichever engine holds them.

The rule needs three things of an engine: the cosine of each suspect's gradient with a direction, a weighted sum of the
unit gradients (a new direction), and the cosine of two directions; all in the metric of the inverse Fisher. An index
answers from its store; an exact engine answers with a pass over the suspects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from orfila_engine.blockwise import BLOCK, Block, Rows, blocks_of, multiply, weighted_sum

if TYPE_CHECKING:
    from orfila_engine.fingerprint.whitening import Whitening

Vector = NDArray[np.float32]
Direction = TypeVar("Direction")
HELD_BYTES = 2**30
"""Memory for suspects' rows: 80,000 at 6,000 numbers."""


class SuspectGradients(Protocol[Direction]):
    """Unit gradients u_i = g_i / |g_i| of S suspects, |g|^2 = g . F^-1 . g."""

    indices: NDArray[np.int64]
    """[S] `index` of each suspect, ascending."""

    def cosines(self, direction: Direction) -> Vector:
        """[S] u_i . v for a direction v of unit length."""
        ...

    def contrast(self, weights: Vector) -> Direction:
        """The direction sum_i weights_i u_i, scaled to unit length. weights: [S]."""
        ...

    def inner(self, one: Direction, other: Direction) -> float:
        """Cosine of two directions of unit length."""
        ...


class RowSource(Protocol):
    """Rows [n, D] that can be read by `index`: an array, a memory-mapped one, or an index's store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, D)"""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 or float32."""
        ...

    def __getitem__(self, key: NDArray[np.int64], /) -> Any:
        """A copy of some rows, [m, D]."""
        ...


class FingerprintSuspects:
    """Suspects of a fingerprint index.

    Their rows are held in memory as they are stored, when they fit; otherwise each question reads them again. Either
    way they become float32 block by block, and the whitening, which is linear, is applied to directions and sums.
    """

    def __init__(
        self,
        rows: RowSource,
        self_influence: Vector,
        indices: NDArray[np.int64],
        whitening: Whitening | None = None,
        *,
        hold: int = HELD_BYTES,
    ) -> None:
        """rows: [n, D]; self_influence: [n] |phi|^2 of each row as it stands there; indices: [S] ascending.

        whitening: what makes fingerprints of the rows; None when they are fingerprints already. hold: bytes that the
        rows may take in memory.
        """
        self.indices = indices
        self._source, self._whitening = rows, whitening
        self._dimension = rows.shape[1]
        lengths = np.sqrt(self_influence[indices])
        self._factors = np.divide(1, lengths, out=np.zeros(len(indices), dtype=np.float32), where=lengths > 0)
        fits = len(indices) * self._dimension * rows.dtype.itemsize <= hold
        self._held: Rows | None = rows[indices] if fits else None

    @property
    def held_bytes(self) -> int:
        """Memory that the rows take."""
        return 0 if self._held is None else self._held.nbytes

    def cosines(self, direction: Vector) -> Vector:
        """See `SuspectGradients`. direction: [D]."""
        return self.products(direction[None])[:, 0]

    def contrast(self, weights: Vector) -> Vector:
        """See `SuspectGradients`. The result is [D]."""
        return unit(self.combine(weights[None])[0].astype(np.float64))

    def inner(self, one: Vector, other: Vector) -> float:
        """See `SuspectGradients`."""
        return float(one @ other)

    def products(self, vectors: Vector) -> Vector:
        """Inner products of the unit gradients with K vectors [K, D] -> [S, K]."""
        found = multiply(self._blocks(), len(self.indices), self._to_rows(vectors))
        found *= self._factors[:, None]
        return found

    def combine(self, weights: Vector) -> Vector:
        """K weighted sums of the unit gradients: weights [K, S] -> [K, D]."""
        total = torch.from_numpy(weighted_sum(self._blocks(), weights * self._factors, self._dimension)).float()
        return (total if self._whitening is None else self._whitening.whiten(total)).numpy()

    def _to_rows(self, vectors: Vector) -> Vector:
        """What a stored row must be multiplied with to give the product of its fingerprint with each vector."""
        if self._whitening is None:
            return vectors
        return self._whitening.adjoint(torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))).numpy()

    def _blocks(self) -> Iterator[Block]:
        if self._held is not None:
            yield from blocks_of(self._held)
            return
        for start in range(0, len(self.indices), BLOCK):
            at = slice(start, min(start + BLOCK, len(self.indices)))
            yield at, self._source[self.indices[at]]


def unit(vector: NDArray[np.float64]) -> Vector:
    """A vector scaled to length 1; a zero vector stays zero."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-30), dtype=np.float32)
