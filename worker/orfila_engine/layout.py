"""Fingerprints laid out in a plane, to be looked at: principal components for an overview, UMAP for neighbourhoods.

What is laid out are unit gradients u_i = phi(g_i) / |phi(g_i)|: two images lie close together when they pull the model
the same way. The axes are those of the suspects; every other training image is put where it falls on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import Progress, quiet
from orfila_engine.suspects import FingerprintSuspects, Vector

N_AXES = 32
"""Principal axes along which the distance of two suspects is told."""
_OVERSAMPLED = 8
"""More directions than are wanted, so that the wanted ones are found well."""
_ITERATIONS = 3
_UMAP_COMPONENTS = 30
"""Principal components that neighbours are looked for in; the rest is mostly noise."""
_NEIGHBOURS = 15
_LEAST = 10
"""Suspects; fewer make no picture."""


@dataclass(frozen=True)
class Layout:
    """A picture of all n training images."""

    points: NDArray[np.float32]
    """[n, 2]; nan for images that it does not show."""
    explained: tuple[float, float] | None
    """Share of the suspects' variance along each axis; None where the axes have no such meaning."""
    coordinates: NDArray[np.float32] | None = None
    """[S, K] of the suspects alone, along up to N_AXES principal axes: enough to find an image's nearest ones by."""


@dataclass(frozen=True)
class _Axes:
    vectors: Vector
    """[K, D] orthonormal, the most telling first."""
    means: NDArray[np.float64]
    """[K] mean coordinate of the suspects."""
    variances: NDArray[np.float64]
    """[K] of the suspects' coordinates."""
    total: float
    """Variance of the suspects' unit gradients in all directions."""


def principal_layout(index: FingerprintIndex, suspects: NDArray[np.int64], progress: Progress = quiet) -> Layout:
    """All training images on the two principal axes of the suspects' unit gradients.

    suspects: [S] `index`, ascending. The signs are chosen so that most of the suspects lie left of and below what
    stands out. Raises ValueError for fewer than ten suspects.
    """
    held = index.suspects(_enough(suspects))
    axes = _principal_axes(held, min(N_AXES, len(suspects) - 1), progress)
    progress("laying out all training images", 0.7)
    products = index.influence(axes.vectors[:2])
    norms = np.sqrt(np.maximum(index.self_influence, 1e-30))
    points = products / norms[:, None] - axes.means[:2]
    inside = points[suspects]
    skew = (inside**3).mean(0)
    points *= np.where(skew < 0, -1, 1)
    x, y = (axes.variances[:2] / axes.total).tolist()
    coordinates = held.products(axes.vectors) - axes.means
    return Layout(points.astype(np.float32), (x, y), coordinates.astype(np.float32))


def umap_layout(
    index: FingerprintIndex, suspects: NDArray[np.int64], seed: int = 0, progress: Progress = quiet
) -> Layout:
    """The suspects alone, so that neighbours stay neighbours (UMAP: McInnes 2018, arXiv 1802.03426).

    suspects: [S] `index`, ascending. Raises ValueError for fewer than ten suspects.
    """
    held = index.suspects(_enough(suspects))
    axes = _principal_axes(held, min(_UMAP_COMPONENTS, len(suspects) - 1), progress)
    coordinates = held.products(axes.vectors) - axes.means
    progress("looking for neighbours", 0.3)
    from umap import UMAP  # seconds, which only a map by UMAP shall take

    found = UMAP(n_neighbors=min(_NEIGHBOURS, len(suspects) - 1), random_state=seed, n_jobs=1)
    points = np.full((index.n, 2), np.nan, dtype=np.float32)
    points[suspects] = found.fit_transform(coordinates.astype(np.float32))
    return Layout(points, None)


def _enough(suspects: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(suspects) < _LEAST:
        raise ValueError(f"there are {len(suspects)} suspects; a map needs at least {_LEAST}")
    return suspects


def _principal_axes(suspects: FingerprintSuspects, k: int, progress: Progress) -> _Axes:
    """The k principal axes by subspace iteration from random weights (Halko 2011, arXiv 0909.4061, algorithm 4.4)."""
    n = len(suspects.indices)
    width = min(k + _OVERSAMPLED, n)
    weights = np.random.default_rng(0).standard_normal((width, n)).astype(np.float32)
    for step in range(_ITERATIONS + 1):
        progress("finding the axes", 0.6 * step / (_ITERATIONS + 1))
        # Weights that add up to 0 take the mean away: sum_i w_i (u_i - mean) = sum_i w_i u_i.
        weights -= weights.mean(1, keepdims=True)
        basis, _ = np.linalg.qr(suspects.combine(weights).T.astype(np.float64))
        coordinates = suspects.products(basis.T.astype(np.float32)).astype(np.float64)  # [S, width]
        means = coordinates.mean(0)
        coordinates -= means
        weights = np.linalg.qr(coordinates)[0].T.astype(np.float32)
    _, lengths, turn = np.linalg.svd(coordinates, full_matrices=False)
    vectors = turn[:k] @ basis.T
    mean = suspects.combine(np.full((1, n), 1 / n, dtype=np.float32))[0].astype(np.float64)
    return _Axes(
        vectors.astype(np.float32),
        turn[:k] @ means,
        np.square(lengths[:k]) / n,
        max(1 - float(mean @ mean), 1e-12),  # of unit vectors
    )
