"""L_l^-1 for every layer: from projected gradients to fingerprints, and from directions to what the store can tell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from orfila_engine.gradients import IndexedLayer


class Whitening:
    """L_l^-1 on every layer's coordinates, block diagonal; L_l is the Cholesky factor of the layer's Gram matrix.

    phi = L^-1 g needs a product for each image. Where only sums and inner products are asked for, the few vectors are
    changed instead: phi . v = g . (L^-T v), and sum_i w_i phi_i = L^-1 sum_i w_i g_i.
    """

    def __init__(self, layers: Sequence[IndexedLayer], factors: dict[str, Tensor]) -> None:
        # The factors are well conditioned thanks to the damping, so a product with the inverse is as good as a solve.
        self._inverse, self._factors = [], []
        for layer in layers:
            factor = factors[layer.name].double()
            identity = torch.eye(layer.size, dtype=torch.float64)
            inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
            self._inverse.append((layer.columns, inverse.float().contiguous()))
            self._factors.append((layer.columns, factor.float().contiguous()))

    def whiten(self, rows: Tensor) -> Tensor:
        """Projected gradients [m, D] -> fingerprints L^-1 g, float32 [m, D] on the CPU."""
        out = torch.empty_like(rows)
        for columns, inverse in self._inverse:
            torch.matmul(rows[:, columns], inverse.T, out=out[:, columns])
        return out

    def adjoint(self, vectors: Tensor) -> Tensor:
        """Vectors v [K, D] among fingerprints -> L^-T v, whose inner product with g is that of v with phi(g)."""
        out = torch.empty_like(vectors)
        for columns, inverse in self._inverse:
            torch.matmul(vectors[:, columns], inverse, out=out[:, columns])
        return out

    def unwhiten(self, fingerprints: Tensor) -> Tensor:
        """Fingerprints [m, D] -> the projected gradients that they are of, L phi; float32 [m, D] on the CPU."""
        out = torch.empty_like(fingerprints)
        for columns, factor in self._factors:
            torch.matmul(fingerprints[:, columns], factor.T, out=out[:, columns])
        return out


def factorise(grams: dict[str, Tensor], n: int, layers: Sequence[IndexedLayer], damping: float) -> dict[str, Tensor]:
    """Layer name -> lower Cholesky factor L_l of the mean Gram matrix plus damping, float64 [K_l, K_l].

    grams: sums of vec(G) vec(G)^T over n images.
    """
    factors = {}
    for layer in layers:
        gram = grams[layer.name] / n
        level = float(gram.diagonal().mean())
        if level == 0:
            # No image has a gradient in this layer (it is dead), so its coordinates are 0 under any factor.
            factors[layer.name] = torch.eye(layer.size, dtype=torch.float64)
            continue
        gram.diagonal().add_(damping * level)
        factors[layer.name] = torch.linalg.cholesky(gram).contiguous()
    return factors
