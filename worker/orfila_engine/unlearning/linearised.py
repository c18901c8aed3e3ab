"""Retraining without some images, in the linearisation of the network around its weights.

With m_i the measurement of training image i for its own label, the loss is log(1 + exp(m_i)), and its gradient
g_i = s_i h_i, with s_i = sigmoid(m_i) and h_i the gradient of m_i. In the linearisation m_i(d) = m_i + h_i . d the
training is a logistic regression, and the deployed weights d = 0 are its solution for all images. Without the removed
ones S the solution moves to (first-order condition, c = n x damping)

    c d = sum_S s_i h_i + sum_kept (s_i - s_i(d)) h_i.

The first sum is what group influence knows. The second is what it leaves out: as soon as the kept images lose margin,
their loss pulls back. Half of a poison still holds the label in place, and so do its clean images; to first order,
removing either looks the same.

In the dual d = (1 / c) H^T a, so that only inner products of gradients are needed, and Newton's method on the residual
a_i - w_i (s_i - s_i(d)) takes a few steps of one R x R system.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS = 50
_TOLERANCE = 1e-8
_MAX_HALVINGS = 30

Array = NDArray[np.float64]


def retrained(
    kernel: Array, cross: Array, measurements: Array, weights: Array, removed: NDArray[np.bool_], c: float
) -> Array:
    """Change of the measurements of Q questions when images are removed and the others trained again, [Q].

    kernel: [R, R] h_i . h_j of R training images; cross: [Q, R] h_q . h_i; measurements: [R] m_i; weights: [R] for how
    many images each stands; removed: [R]; c: number of training images x damping.
    """
    slope = weights * sigmoid(measurements)
    dual = np.where(removed, slope, 0.0)
    for _ in range(_MAX_STEPS):
        residual, now = _residual(kernel, measurements, weights, removed, slope, dual, c)
        size = np.abs(residual).sum()
        if size < _TOLERANCE * max(1.0, slope.sum()):
            break
        curvature = np.where(removed, 0.0, weights * now * (1 - now))
        system = curvature[:, None] * kernel / c
        system[np.diag_indices_from(system)] += 1
        step = np.linalg.solve(system, residual)
        share = 1.0
        for _ in range(_MAX_HALVINGS):
            candidate = dual + share * step
            if np.abs(_residual(kernel, measurements, weights, removed, slope, candidate, c)[0]).sum() < size:
                break
            share /= 2
        dual = candidate
    change: Array = cross @ dual / c
    return change


def _residual(
    kernel: Array,
    measurements: Array,
    weights: Array,
    removed: NDArray[np.bool_],
    slope: Array,
    dual: Array,
    c: float,
) -> tuple[Array, Array]:
    """What the first-order condition lacks, [R], and the slopes s_i(d), [R]."""
    now = sigmoid(measurements + kernel @ dual / c)
    wanted = np.where(removed, slope, slope - weights * now)
    return wanted - dual, now


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(x / 2)), dtype=np.float64)
