"""Near duplicates of the removed images among the kept ones, in the space of fingerprints.

What is removed has left its mark on its neighbours too, and they bring it back: graph unlearning (GIF, Wu 2023,
arXiv 2304.02835) and recommendation unlearning (IFRU, Zhang 2023, arXiv 2307.02147) add this *spillover* to the direct
influence. Images have no graph; their neighbours are those that taught the model nearly the same, which is what two
near fingerprints say. A poison that the investigation missed is the case that matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orfila_engine.fingerprint import FingerprintIndex

MAX_REMOVED = 1_000
"""Removed images that are compared with the kept ones, an even sample."""


def near_duplicates(
    index: FingerprintIndex, labels: NDArray[np.int64], removed: NDArray[np.int64]
) -> NDArray[np.int64]:
    """`index` of the kept images that are as near to a removed one as half of the removed ones are to each other.

    Nearness is the cosine of fingerprints; only images with a label of a removed one are compared. labels: [n] of the
    training images. A set of one or two images has no neighbourhood to go by, and gets none.
    """
    if len(removed) < 3:
        return np.empty(0, dtype=np.int64)
    sample = removed[:: -(-len(removed) // MAX_REMOVED)]
    lengths = np.sqrt(np.maximum(index.self_influence[sample], 1e-30))
    units = (index.fingerprints[sample] / lengths[:, None]).astype(np.float32)
    among = units @ units.T
    np.fill_diagonal(among, -1.0)
    reach = float(np.median(among.max(1)))
    alike = np.flatnonzero(np.isin(labels, np.unique(labels[removed])))
    nearest = index.suspects(alike).products(units).max(1)
    return np.setdiff1d(alike[nearest >= reach], removed)
