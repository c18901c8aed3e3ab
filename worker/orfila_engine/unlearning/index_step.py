"""The Newton step against a set of images, from the fingerprint index alone.

Removing the images S from the training moves the weights, to first order, by (1/n) F^-1 sum_S g_i (Koh and Liang 2017).
The index knows both factors in the space of its projections: with G = P_B g P_A^T the projected gradient of a layer and
K = mean_i vec(G_i) vec(G_i)^T + damping its projected Fisher, the step is

    delta W = (1/n) P_B^T mat(K^-1 sum_S vec(G_i)) P_A

It is the step of the projected model, and its first-order effect on any measurement is exactly what the index predicts
(`preview`): h . delta W = (1/n) sum_S phi(h) . phi(g_i). No image is looked at: the sum of the removed images'
fingerprints is all that is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.gradients.layers import Layer, fan_in, fan_out
from orfila_engine.gradients.random import projection
from orfila_engine.unlearning.gradient_sums import Gradients

_BLOCK = 1_024


def summed_fingerprints(index: FingerprintIndex, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """sum_i phi(g_i) over training images, [D]. Reads only their rows of the store."""
    total = np.zeros(index.dimension, dtype=np.float64)
    for start in range(0, len(indices), _BLOCK):
        total += index.fingerprints[indices[start : start + _BLOCK]].sum(0, dtype=np.float64)
    return total.astype(np.float32)


def without_shared(summed: NDArray[np.float32], of_kept: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sum of fingerprints [D] without its part along the sum of some kept images' [D]."""
    size = float(of_kept @ of_kept)
    return summed if size == 0 else summed - (float(summed @ of_kept) / size) * of_kept


def index_step(index: FingerprintIndex, model: nn.Module, summed: NDArray[np.float32]) -> Gradients:
    """(1/n) F^-1 sum_S g_i, by parameter name, float32 on the CPU; only indexed layers have one.

    model: the one that was indexed. summed: [D], see `summed_fingerprints`.
    """
    # K^-1 sum vec(G) = L^-T sum phi, for K = L L^T and phi = L^-1 vec(G).
    solved = index.whitening.adjoint(torch.from_numpy(summed)[None])[0].double()
    step: Gradients = {}
    for info in index.layers:
        layer = model.get_submodule(info.name)
        assert isinstance(layer, Layer)
        inner = solved[info.columns].view(info.k_b, info.k_a)
        p_a = projection(index.spec.seed, info.name, "input", info.k_a, fan_in(layer))
        p_b = projection(index.spec.seed, info.name, "output", info.k_b, fan_out(layer))
        # [out, k_b] [k_b, k_a] [k_a, fan-in]
        delta = (p_b.T @ inner @ p_a / index.n).float()
        if layer.bias is not None:
            step[f"{info.name}.bias"] = delta[:, -1].contiguous()
            delta = delta[:, :-1]
        step[f"{info.name}.weight"] = delta.reshape(layer.weight.shape)
    return step
