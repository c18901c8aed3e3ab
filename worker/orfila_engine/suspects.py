"""The suspects' gradients as the collapse rule sees them, whichever engine holds them.

The rule needs three things of an engine: the cosine of each suspect's gradient with a direction, a weighted sum of the
unit gradients (a new direction), and the cosine of two directions; all in the metric of the inverse Fisher. An index
answers from its store; an exact engine answers with a pass over the suspects.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Fingerprints = NDArray[np.float16] | NDArray[np.float32]
Vector = NDArray[np.float32]
Direction = TypeVar("Direction")
_BLOCK = 1024


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


class FingerprintSuspects:
    """Suspects of a fingerprint index: their unit fingerprints, held in memory as float32 [S, D]."""

    def __init__(self, fingerprints: Fingerprints, self_influence: Vector, indices: NDArray[np.int64]) -> None:
        """fingerprints: [n, D], may be memory-mapped; self_influence: [n]; indices: [S] ascending."""
        self.indices = indices
        self.unit = _unit_rows(fingerprints, self_influence, indices)

    def cosines(self, direction: Vector) -> Vector:
        """See `SuspectGradients`. direction: [D]."""
        return np.asarray(self.unit @ direction)

    def contrast(self, weights: Vector) -> Vector:
        """See `SuspectGradients`. The result is [D]."""
        return unit((weights @ self.unit).astype(np.float64))

    def inner(self, one: Vector, other: Vector) -> float:
        """See `SuspectGradients`."""
        return float(one @ other)


def unit(vector: NDArray[np.float64]) -> Vector:
    """A vector scaled to length 1; a zero vector stays zero."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-30), dtype=np.float32)


def _unit_rows(fingerprints: Fingerprints, self_influence: Vector, rows: NDArray[np.int64]) -> Vector:
    """[S, D] in float32: the one copy that is held in memory, of the suspects only."""
    out = np.empty((len(rows), fingerprints.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        norms = np.sqrt(np.maximum(self_influence[part], 1e-30))
        out[start : start + _BLOCK] = np.asarray(fingerprints[part], dtype=np.float32) / norms[:, None]
    return out
