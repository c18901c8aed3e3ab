"""Is a group of suspects natural? Counterparts, clean test images of the suspects' label, hold every natural group.

The evidence test asks it of the images that are called poison, the shared mark of the pictures that have it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

COMMON = 0.5
"""A natural group is at least half as common among the counterparts as among the suspects (chosen on seed 0)."""
MIN_COUNTERPARTS = 10
"""Fewer say nothing about the shape of the clean images' scores, and are left aside."""


def p_natural(share: float, among: NDArray[np.bool_]) -> float:
    """Chance of so few counterparts in a group, if it were COMMON times as common among them as among the suspects.

    share: of the suspects, in the group. among: [T] which counterparts are. One-sided binomial test.
    """
    return float(binom.cdf(int(among.sum()), len(among), COMMON * share))
