"""Precision and recall of a flagged set, estimated from posteriors and verdicts, with 95 % intervals.

Let p_i be the posterior of suspect i, replaced by 1 where reviewers say poison and by 0 where they say clean. The
flagged set F holds T = sum_F p_i true poisons in expectation, and M = sum over suspects outside F of p_i are missed.

- precision, without verdicts in F: T / |F|, its variance sum_F p_i (1 - p_i) / |F|^2 (independent Bernoulli trials);
- precision, with verdicts in F: the share of poison among the decided ones, with Wilson's interval (Wilson 1927);
- recall: T / (T + M); by the delta method its variance is (M^2 var T + T^2 var M) / (T + M)^4.

The posterior's own error (a mixture that fits badly) is not in these intervals. Verdicts are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from orfila.cases.schemas import Estimate

Z = 1.959963984540054
"""Of a 95 % interval."""

HALF_WIDTH = 0.05


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share. n must be positive."""
    share, z2 = successes / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def corrected(posterior: NDArray[np.float32], verdicts: Mapping[int, str]) -> NDArray[np.float64]:
    """[n] posteriors with what reviewers know: 1 for poison, 0 for clean."""
    result = posterior.astype(np.float64)
    for index, verdict in verdicts.items():
        if verdict != "unsure":
            result[index] = 1.0 if verdict == "poison" else 0.0
    return result


def precision(posterior: NDArray[np.float32], flagged: NDArray[np.bool_], verdicts: Mapping[int, str]) -> Estimate:
    """Share of poison among the flagged. posterior, flagged: [n]."""
    n_flagged = int(flagged.sum())
    if n_flagged == 0:
        return Estimate(value=None, low=None, high=None, method="Nothing is flagged.")
    decided = [v for i, v in verdicts.items() if flagged[i] and v != "unsure"]
    if decided:
        n, hits = len(decided), decided.count("poison")
        low, high = wilson(hits, n)
        return Estimate(
            value=hits / n,
            low=low,
            high=high,
            method=f"{hits} of {n} reviewed flagged images are poison (Wilson interval); the others are not judged.",
        )
    p = posterior[flagged].astype(np.float64)
    half = Z * math.sqrt(float((p * (1 - p)).sum())) / n_flagged
    value = float(p.mean())
    return Estimate(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        method="Mean posterior of the flagged images; no verdicts yet.",
    )


def recall(
    posterior: NDArray[np.float32],
    flagged: NDArray[np.bool_],
    suspect: NDArray[np.bool_],
    verdicts: Mapping[int, str],
) -> Estimate:
    """Share of the poison that is flagged. posterior, flagged, suspect: [n]."""
    p = corrected(posterior, verdicts)
    known_poison = np.zeros(len(p), dtype=bool)
    known_poison[[i for i, v in verdicts.items() if v == "poison"]] = True
    outside = (suspect | known_poison) & ~flagged
    found, missed = float(p[flagged].sum()), float(p[outside].sum())
    if found + missed == 0:
        return Estimate(value=None, low=None, high=None, method="No poison is expected among the suspects.")
    var_found = float((p[flagged] * (1 - p[flagged])).sum())
    var_missed = float((p[outside] * (1 - p[outside])).sum())
    value = found / (found + missed)
    half = Z * math.sqrt(missed**2 * var_found + found**2 * var_missed) / (found + missed) ** 2
    basis = "posteriors, with verdicts in their place where there are any" if verdicts else "posteriors"
    return Estimate(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        method=f"Expected poison in the flagged set over expected poison among all suspects, from {basis}.",
    )


def answers_needed(share: float | None, n_decided: int, n_open: int) -> int | None:
    """How many more verdicts on flagged images give an interval of +-0.05, if the share stays; at most all open ones.

    None where nothing is flagged.
    """
    if share is None:
        return None
    for n in range(max(n_decided, 1), n_decided + n_open + 1):
        low, high = wilson(share * n, n)
        if (high - low) / 2 <= HALF_WIDTH:
            return n - n_decided
    return n_open
