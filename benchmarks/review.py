"""How many verdicts a review needs, by the order of the images: a reviewer who is always right, on planted poison.

After each ten verdicts the finding learns (as `refit` does), and the order is made anew with the product's own code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.cases import Case
from orfila.columns import FLAG_SCORES, FLOAT_SCORES, Scores
from orfila.review.estimates import HALF_WIDTH, precision
from orfila.review.informative import most_informative_first
from orfila_engine.collapse import Collapse
from orfila_engine.investigation import explain_in_store
from orfila_engine.questions import ask_each

BATCH = 10
SHARE = 0.95
"""Of the poisons, to be judged or flagged."""
SEEDS = 3
"""Of the random parts of an order; the medians are told."""

Said = dict[int, str]
Order = Callable[[Scores, Said, np.random.Generator], list[int]]


def run(case: Case) -> dict[str, Any]:
    """Verdicts until 95 % of the poisons are judged, until the flagged set holds 95 %, until +-0.05 is certified."""
    if not case.about["n_fooled"]:
        return {"skipped": "the poison fools the model on no test image"}
    bench = _Bench.of(case)
    first = bench.scores({})
    truth = np.zeros(len(first), dtype=bool)
    truth[case.truth] = True
    flagged = first.flags["flagged"]
    return {
        "n_suspects": int(first.flags["suspect"].sum()),
        "n_poison": len(case.truth),
        "n_flagged": int(flagged.sum()),
        "precision": float(truth[flagged].mean()) if flagged.any() else None,
        "recall": float(truth[flagged].sum() / truth.sum()),
        "orders": {
            name: [_review(bench, truth, order, seed) for seed in range(SEEDS)] for name, order in ORDERS.items()
        },
    }


def _random(scores: Scores, said: Said, rng: np.random.Generator) -> list[int]:
    return _left(rng.permutation(np.flatnonzero(scores.flags["suspect"])), said)


def _random_flagged(scores: Scores, said: Said, rng: np.random.Generator) -> list[int]:
    flagged = scores.flags["flagged"]
    others = scores.flags["suspect"] & ~flagged
    return _left(np.concatenate([rng.permutation(np.flatnonzero(rows)) for rows in (flagged, others)]), said)


def _suspicious(scores: Scores, said: Said, _: np.random.Generator) -> list[int]:
    rows = np.flatnonzero(scores.flags["suspect"])
    order = np.lexsort((-scores.numbers["collapse_score"][rows], -scores.numbers["rule_posterior"][rows]))
    return _left(rows[order], said)


def _informative(scores: Scores, said: Said, rng: np.random.Generator) -> list[int]:
    return most_informative_first(scores, said, rng, BATCH)


ORDERS: dict[str, Order] = {
    "random, all suspects": _random,
    "random, flagged first": _random_flagged,
    "most suspicious first": _suspicious,
    "most informative first": _informative,
}


def _left(rows: NDArray[np.int64], said: Said) -> list[int]:
    return [int(i) for i in rows if int(i) not in said]


@dataclass(frozen=True)
class _Bench:
    """What a refit needs, opened once."""

    ask: Callable[[Said], Collapse[Any]]
    n: int

    @classmethod
    def of(cls, case: Case) -> _Bench:
        model, card = case.loaded
        predicted = case.predicted
        asked = ask_each(case.index, model, card, [case.affected.pixels], predicted, n_b=50, seed=0)
        reference = case.calibration.of(predicted)

        def ask(said: Said) -> Collapse[Any]:
            poison = [i for i, verdict in said.items() if verdict == "poison"]
            clean = [i for i, verdict in said.items() if verdict == "clean"]
            return explain_in_store(
                case.index, case.packed, asked, predicted, "label", reference, poison=poison, clean=clean
            )

        return cls(ask, case.packed.n_train)

    def scores(self, said: Said) -> Scores:
        """The finding that has learned from these verdicts."""
        found = self.ask(said)
        numbers = {name: np.zeros(self.n, dtype=np.float32) for name in FLOAT_SCORES}
        flags = {name: np.zeros(self.n, dtype=np.bool_) for name in FLAG_SCORES}
        numbers["posterior"][found.suspects] = found.posterior
        numbers["rule_posterior"][found.suspects] = found.rule_posterior
        numbers["collapse_score"][found.suspects] = found.score
        flags["suspect"][found.suspects] = True
        flags["flagged"] = numbers["posterior"] > found.threshold
        flags["flagged_rule"] = numbers["rule_posterior"] > found.threshold
        nothing = np.zeros(self.n, dtype=np.int32)
        return Scores(pa.chunked_array([pa.nulls(self.n, pa.string())]), nothing, nothing, numbers, flags)


def _review(bench: _Bench, truth: NDArray[np.bool_], order: Order, seed: int) -> dict[str, Any]:
    """One review to its end; each goal -> verdicts, and whether the interval held the truth when it was narrow."""
    rng = np.random.default_rng(seed)
    said: Said = {}
    reached: dict[str, Any] = {}
    began, n_refits = time.perf_counter(), 0
    while True:
        scores = bench.scores(said)
        n_refits += 1
        flagged = scores.flags["flagged"]
        held = float(truth[flagged].sum() / truth.sum())
        clean = float(truth[flagged].mean()) if flagged.any() else 0.0
        if held >= SHARE and clean >= SHARE:
            reached.setdefault("flagged", len(said))
        if sum(verdict == "poison" for verdict in said.values()) >= SHARE * truth.sum():
            reached.setdefault("judged", len(said))
        estimate = precision(scores, said)
        low, high = estimate.low, estimate.high
        if said and low is not None and high is not None and high - low <= 2 * HALF_WIDTH:
            reached.setdefault("certified", len(said))
            reached.setdefault("held", low - 1e-9 <= clean <= high + 1e-9)
        if len(reached) == 4:
            break
        batch = order(scores, said, rng)[:BATCH]
        if not batch:
            break
        said |= {i: "poison" if truth[i] else "clean" for i in batch}
    return reached | {"refit_seconds": (time.perf_counter() - began) / n_refits}
