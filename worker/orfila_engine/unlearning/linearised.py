"""Retraining without some images, in the linearisation of the network around its weights.

With m_i the measurement of training image i for its own label, the loss is log(1 + exp(m_i)), and its gradient
g_i = s_i h_i, with s_i = sigmoid(m_i) and h_i the gradient of m_i. In the linearisation m_i(d) = m_i + h_i . d the
training is a logistic regression, and the deployed weights d = 0 are its solution for all images. Without the removed
ones S the solution moves to (first-order condition, c = n x damping)

    c d = sum_S s_i h_i + sum_kept (s_i - s_i(d)) h_i.

The first sum is what group influence knows. The second is what it leaves out: as soon as the kept images lose margin,
their loss pulls back. Half of a poison still holds the label in place, and so do its clean images; to first order,
removing either looks the same.

In the dual d = (1 / c) H^T a, so that only inner products of gradients are needed, and each step of Newton's method is
one R x R system.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS = 100
_TOLERANCE = 1e-10
_MIN_SHARE = 1e-6

Array = NDArray[np.float64]


def retrained(
    kernel: Array, cross: Array, measurements: Array, weights: Array, removed: NDArray[np.bool_], c: float
) -> Array:
    """Change of the measurements of Q questions when images are removed and the others trained again, [Q].

    kernel: [R, R] h_i . h_j of R training images; cross: [Q, R] h_q . h_i; measurements: [R] m_i; weights: [R] for how
    many images each stands; removed: [R]; c: number of training images x damping.
    """
    slope = weights * sigmoid(measurements)
    kept = np.where(removed, 0.0, weights)
    # From the weights as they are: those that group influence gives overshoot, and it takes ten times the steps.
    dual = np.zeros(len(weights))
    # K a / c, the change of every measurement, is carried along, so that a trial costs no product with K.
    moved = kernel @ dual / c

    def loss(dual: Array, moved: Array) -> float:
        """The linearised training's loss in the dual: a convex function, of which this is Newton's method."""
        return float(kept @ np.logaddexp(0, measurements + moved) - slope @ moved + dual @ moved / 2)

    now = loss(dual, moved)
    for _ in range(_MAX_STEPS):
        slopes = sigmoid(measurements + moved)
        residual = slope - kept * slopes - dual
        system = (kept * slopes * (1 - slopes))[:, None] * kernel / c
        system[np.diag_indices_from(system)] += 1
        step = np.linalg.solve(system, residual)
        moves = kernel @ step / c
        # Along the step the loss falls at first by residual . moves.
        descent = float(residual @ moves)
        share = 1.0
        while share > _MIN_SHARE and loss(dual + share * step, moved + share * moves) > now - 1e-4 * share * descent:
            share /= 2
        dual, moved = dual + share * step, moved + share * moves
        now = loss(dual, moved)
        if descent < _TOLERANCE * (1 + abs(now)):
            break
    change: Array = cross @ dual / c
    return change


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(x / 2)), dtype=np.float64)
