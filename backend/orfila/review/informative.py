"""What to judge next: the image whose verdict tells the most about how much poison there is, and where.

Three strata of undecided images: flagged ones that the rule is certain of, the other flagged ones, and suspects that
it nearly flags. The next image comes from the stratum whose next verdict narrows the interval of the number of poisons
the most (the sequential form of Neyman's allocation, 1934). Within a stratum it is drawn at random, so that what has
been judged is a fair sample of it and certifies the precision of the rest. Then come the other suspects, by posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from orfila.columns import Scores
from orfila.review.estimates import CERTAIN, Stratum, best, flagged_strata, stratum

POSSIBLE = 0.1
"""Posterior above which a suspect that is not flagged may well be poison."""


def most_informative_first(
    scores: Scores, verdicts: Mapping[int, str], rng: np.random.Generator, limit: int
) -> list[int]:
    """`index` of the first `limit` suspects to judge; none of them has a verdict."""
    posterior, suspect, flagged = (scores.numbers["rule_posterior"], scores.flags["suspect"], scores.flags["flagged"])
    unjudged = np.ones(len(scores), dtype=bool)
    unjudged[list(verdicts)] = False
    certain = posterior > CERTAIN
    possible = suspect & ~flagged & ~scores.flags["flagged_rule"] & (posterior > POSSIBLE)
    groups = [flagged & certain, flagged & ~certain, possible]
    queues = [rng.permutation(np.flatnonzero(rows & unjudged)) for rows in groups]
    strata = [*flagged_strata(scores, verdicts), stratum(possible, possible, scores, verdicts)]
    chosen = _interleaved(strata, queues, limit)
    rest = np.flatnonzero(suspect & unjudged & ~flagged & ~possible)
    return [*chosen, *scores.surest_first(rest)[: limit - len(chosen)].tolist()]


def _interleaved(strata: Sequence[Stratum], queues: Sequence[NDArray[np.int64]], limit: int) -> list[int]:
    """Drawn from the queues, each time from the stratum whose next verdict tells the most."""
    # Unsure verdicts leave an image open, but it is not asked about again: an empty queue has nothing to gain.
    now, left = list(strata), [len(queue) for queue in queues]
    chosen: list[int] = []
    while len(chosen) < limit and any(left):
        k = best([each if n else replace(each, n_open=0) for each, n in zip(now, left, strict=True)])
        chosen.append(int(queues[k][len(queues[k]) - left[k]]))
        now[k], left[k] = now[k].judged(), left[k] - 1
    return chosen
