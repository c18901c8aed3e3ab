"""Which images a round asks about, and whom: drawn with a seed of the round, so that it can be told again."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orfila.review.estimates import CERTAIN
from orfila.review.informative import POSSIBLE
from orfila.rounds.schemas import RoundCreate, Stratum


def images_of(
    body: RoundCreate,
    posterior: NDArray[np.float32],
    flagged: NDArray[np.bool_],
    suspect: NDArray[np.bool_],
    rng: np.random.Generator,
) -> dict[int, Stratum]:
    """The images of a round by `index`, and the stratum of each. posterior, flagged, suspect: [n].

    Controls come from the half of the class that is the least suspicious; there are fewer than asked for where it is
    smaller.
    """
    certain = np.flatnonzero(flagged & (posterior > CERTAIN))
    borderline = np.flatnonzero((flagged & (posterior <= CERTAIN)) | (~flagged & suspect & (posterior > POSSIBLE)))
    if body.images == "sample":
        certain = rng.permutation(certain)[: body.n_certain]
        borderline = rng.permutation(borderline)[: body.n_borderline]
    else:
        borderline = borderline[flagged[borderline]]
    left = suspect & ~flagged & (posterior <= POSSIBLE)
    innocent = np.flatnonzero(left & (posterior <= np.median(posterior[left]))) if left.any() else np.empty(0, np.int64)
    controls = rng.permutation(innocent)[: body.n_controls]
    strata: tuple[tuple[NDArray[np.int64], Stratum], ...] = (
        (certain, "certain"),
        (borderline, "borderline"),
        (controls, "control"),
    )
    return {int(index): stratum for indices, stratum in strata for index in indices}


def split(
    images: Collection[int],
    reviewers: Sequence[str],
    each: int,
    judged: Mapping[str, Collection[int]],
    rng: np.random.Generator,
) -> dict[str, list[int]]:
    """Who is asked about what, in the order to be asked: each image goes to `each` reviewers, loads differ by one.

    judged: images that a reviewer has judged before, who is asked again only where nobody else is left.
    """
    order = [int(i) for i in rng.permutation(np.array(sorted(images), dtype=np.int64))]
    loads = [(0, float(rng.random()), reviewer) for reviewer in reviewers]
    heapq.heapify(loads)
    asked: dict[str, list[int]] = {reviewer: [] for reviewer in reviewers}
    for image in order:
        taken = [heapq.heappop(loads) for _ in range(len(reviewers))]
        taken.sort(key=lambda load: (image in judged.get(load[2], ()), load[0], load[1]))
        for place, (load, _, reviewer) in enumerate(taken):
            if place < each:
                asked[reviewer].append(image)
            heapq.heappush(loads, (load + (place < each), float(rng.random()), reviewer))
    return {reviewer: [int(i) for i in rng.permutation(mine)] for reviewer, mine in asked.items()}
