"""Precision and recall of a flagged set, estimated from posteriors and verdicts, with 95 % intervals.

Let F be the flagged set and p_i the posterior of suspect i, replaced by 1 where reviewers say poison and by 0 where
they say clean. F holds T = sum_F p_i true poisons in expectation; M = sum over suspects outside F of p_i are missed.

- precision, without verdicts in F: T / |F|, its variance sum_F p_i (1 - p_i) / |F|^2 (independent Bernoulli trials);
- precision, with verdicts: what is judged is known. Of the others in F, the share of poison is that of the images that
  were judged and that the rule itself would flag, in two strata: those it is certain of and those it is not. So neither
  the order of the review nor that a judged clean image leaves F bends the estimate. Each stratum has Wilson's interval
  (Wilson 1927), and that of their weighted sum is the square-and-add of Zou and Donner (2008, doi 10.1002/sim.3095);
  a stratum of which nothing is judged may be anything from 0 to 1;
- recall: T / (T + M); by the delta method its variance is (M^2 var T + T^2 var M) / (T + M)^4.

The posterior's own error (a mixture that fits badly) is not in these intervals. Verdicts are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orfila.cases.schemas import Estimate
from orfila.columns import Scores

Z = 1.959963984540054
"""Of a 95 % interval."""

HALF_WIDTH = 0.05

CERTAIN = 0.99
"""Posterior above which a flagged image counts as certain."""


@dataclass(frozen=True)
class Stratum:
    """Images of which the rule thinks much the same: how many are open, and what is known of the others."""

    n_open: int
    """Not decided yet."""
    n: int = 0
    """Decided."""
    hits: float = 0
    """Of them, poison."""
    prior: float = 0.5
    """Share of poison to expect where none is decided."""

    @property
    def share(self) -> float:
        """Of poison among the open ones."""
        return self.hits / self.n if self.n else self.prior

    @property
    def interval(self) -> tuple[float, float]:
        """Of that share; anything, where none is decided.

        What is sought is how many of these n_open images are poison, not a rate behind them, so both numbers limit what
        n decided ones say: the variance is s (1 - s) (1 / n + 1 / n_open), the finite population correction.
        """
        if self.n == 0 or self.n_open == 0:
            return (0.0, 1.0) if self.n == 0 else (self.share, self.share)
        worth = self.n * self.n_open / (self.n + self.n_open)
        return wilson(self.share * worth, worth)

    def judged(self) -> Stratum:
        """The same when one more is decided and the share stays."""
        return replace(self, n_open=self.n_open - 1, n=self.n + 1, hits=self.hits + self.share)


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share. n must be positive."""
    share, z2 = successes / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def total(strata: Sequence[Stratum]) -> tuple[float, float, float]:
    """Poisons to expect among the open images of all strata, the least and the most of them."""
    expected = below = above = 0.0
    for each in strata:
        low, high = each.interval
        expected += each.n_open * each.share
        below += (each.n_open * (each.share - low)) ** 2
        above += (each.n_open * (high - each.share)) ** 2
    return expected, expected - math.sqrt(below), expected + math.sqrt(above)


def corrected(posterior: NDArray[np.float32], verdicts: Mapping[int, str]) -> NDArray[np.float64]:
    """[n] posteriors with what reviewers know: 1 for poison, 0 for clean."""
    result = posterior.astype(np.float64)
    for index, verdict in verdicts.items():
        if verdict != "unsure":
            result[index] = 1.0 if verdict == "poison" else 0.0
    return result


def stratum(
    counted: NDArray[np.bool_], sampled: NDArray[np.bool_], scores: Scores, verdicts: Mapping[int, str]
) -> Stratum:
    """Images of one kind. counted: [n] those whose poisons are sought; sampled: [n] those that tell of them if judged.

    They differ after a refit: an image judged clean is not flagged any more, and still tells of those that are.
    """
    said = [verdict for index, verdict in verdicts.items() if sampled[index] and verdict != "unsure"]
    still_open = counted.copy()
    still_open[[index for index, verdict in verdicts.items() if verdict != "unsure"]] = False
    n_open = int(still_open.sum())
    prior = float(scores.numbers["rule_posterior"][still_open].mean()) if n_open else 0.0
    return Stratum(n_open, len(said), said.count("poison"), prior)


def flagged_strata(scores: Scores, verdicts: Mapping[int, str]) -> list[Stratum]:
    """The flagged images that the rule is certain of, and the others; judged ones that it flags tell of them."""
    certain = scores.numbers["rule_posterior"] > CERTAIN
    flagged, by_rule = scores.flags["flagged"], scores.flags["flagged_rule"]
    return [stratum(flagged & rows, by_rule & rows, scores, verdicts) for rows in (certain, ~certain)]


def precision(scores: Scores, verdicts: Mapping[int, str]) -> Estimate:
    """Share of poison among the flagged."""
    flagged = scores.flags["flagged"]
    n_flagged = int(flagged.sum())
    if n_flagged == 0:
        return Estimate(value=None, low=None, high=None, method="Nothing is flagged.")
    strata = flagged_strata(scores, verdicts)
    n_open, n_sampled, hits = (sum(getattr(each, name) for each in strata) for name in ("n_open", "n", "hits"))
    if n_sampled == 0 and n_open == n_flagged:
        p = scores.posterior[flagged].astype(np.float64)
        half = Z * math.sqrt(float((p * (1 - p)).sum())) / n_flagged
        value = float(p.mean())
        return Estimate(
            value=value,
            low=max(0.0, value - half),
            high=min(1.0, value + half),
            method="Mean posterior of the flagged images; no verdicts yet.",
        )
    known = sum(1 for i, verdict in verdicts.items() if flagged[i] and verdict == "poison")
    expected, least, most = total(strata)
    if n_open == 0:
        method = f"All {n_flagged} flagged images are judged."
    elif n_sampled == 0:
        method = f"{n_flagged - n_open} of {n_flagged} flagged images are judged; the others may be anything."
    else:
        method = (
            f"{hits} of {n_sampled} reviewed images that the rule flags are poison; the {n_open} flagged images that "
            "are not judged are expected to be like them, the certain and the doubtful ones apart (Wilson intervals)."
        )
    return Estimate(
        value=(known + expected) / n_flagged,
        low=max(0.0, (known + least) / n_flagged),
        high=min(1.0, (known + most) / n_flagged),
        method=method,
    )


def recall(scores: Scores, verdicts: Mapping[int, str]) -> Estimate:
    """Share of the poison that is flagged."""
    flagged, suspect = scores.flags["flagged"], scores.flags["suspect"]
    p = corrected(scores.posterior, verdicts)
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


def answers_needed(scores: Scores, verdicts: Mapping[int, str]) -> int | None:
    """How many more verdicts on flagged images give an interval of +-0.05, asked in the best order, if shares stay.

    None where nothing is flagged.
    """
    n_flagged = int(scores.flags["flagged"].sum())
    if n_flagged == 0:
        return None
    strata, needed = flagged_strata(scores, verdicts), 0
    while half_width(strata) > HALF_WIDTH * n_flagged:
        k = best(strata)
        strata[k] = strata[k].judged()
        needed += 1
    return needed


def half_width(strata: Sequence[Stratum]) -> float:
    """Half the interval of `total`, in images."""
    _, least, most = total(strata)
    return (most - least) / 2


def best(strata: Sequence[Stratum]) -> int:
    """Which stratum's next verdict narrows the interval of the total the most. One of them must have an open image."""
    gains = [_spread(each) - _spread(each.judged()) if each.n_open else -math.inf for each in strata]
    return gains.index(max(gains))


def _spread(of: Stratum) -> float:
    """What a stratum adds to the squared width of the total."""
    low, high = of.interval
    return (of.n_open * (of.share - low)) ** 2 + (of.n_open * (high - of.share)) ** 2
