"""Is there poison at all? The statistic of an affected image against that of ordinary test images of the same model.

The reference statistics are made once for each store by the same steps as for an affected image (misclassified test
images first, spread over the predicted labels) and kept beside it in `evidence-SUSPECTS-N.npz`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import collapse, query_direction
from orfila_engine.data import PackedDataset
from orfila_engine.engines import Store
from orfila_engine.evaluation import Evaluation, evaluate
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.questions import Suspects, ask, suspects_of

N_REFERENCE = 40
MIN_REFERENCE = 30
FOUND_P = 0.05
FOUND_STATISTIC = 0.25
"""Chosen on BadNet runs on CIFAR-10 and digits: affected images .34 to 1.4, ordinary ones at most .25 (decision 7)."""
WEAK_P = 0.2
_FILE = "evidence-{suspects}-{n_b}.npz"
Answer = Literal["poisoning found", "weak evidence", "no evidence of poisoning"]


@dataclass(frozen=True)
class Calibration:
    """Statistics of R ordinary test images."""

    statistics: NDArray[np.float32]
    """[R]"""
    test_indices: NDArray[np.int64]
    """[R] `index` of each."""
    predicted: NDArray[np.int64]
    """[R] label that each receives."""

    def without(self, indices: Collection[int]) -> Calibration:
        """The same less some test images: an affected image is no ordinary one."""
        keep = ~np.isin(self.test_indices, list(indices))
        return Calibration(self.statistics[keep], self.test_indices[keep], self.predicted[keep])

    def p_value(self, statistic: float) -> float:
        """Empirical p-value: (1 + number of reference statistics at least as large) / (1 + R)."""
        return float((1 + (self.statistics >= statistic).sum()) / (1 + len(self.statistics)))


@dataclass(frozen=True)
class Evidence:
    """The answer, and what it rests on."""

    verdict: Answer
    p_value: float
    statistic: float
    n_reference: int


def judge(statistic: float, calibration: Calibration) -> Evidence:
    """Turn the statistic of an affected image into one of the three answers.

    "poisoning found" needs a small p-value and a statistic of FOUND_STATISTIC or more; a small p-value alone is weak
    evidence.
    """
    p = calibration.p_value(statistic)
    verdict: Answer = "no evidence of poisoning"
    if p <= FOUND_P and statistic >= FOUND_STATISTIC:
        verdict = "poisoning found"
    elif p <= WEAK_P and statistic > 0:
        verdict = "weak evidence"
    return Evidence(verdict, p, statistic, len(calibration.statistics))


def calibrate(
    store: Store,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    *,
    n_b: int = 50,
    suspects: Suspects = "label",
    n_reference: int = N_REFERENCE,
    seed: int = 0,
    progress: Progress = quiet,
) -> Calibration:
    """Statistics of ordinary test images, for the evidence test.

    Raises ValueError when the data set has fewer than 30 test images.
    """
    pixels, labels = packed.test
    if len(labels) < MIN_REFERENCE:
        raise ValueError(f"the data set has {len(labels)} test images; the evidence test needs {MIN_REFERENCE} or more")
    evaluation = evaluate(model, card, pixels, labels, device="cpu", progress=part(progress, 0, 0.2))
    chosen = choose_reference(evaluation, n_reference, seed)
    _, train_labels = packed.train
    statistics = []
    for number, row in enumerate(chosen):
        predicted = int(evaluation.predicted[row])
        asked = ask(store, model, card, pixels[row], predicted, n_b=n_b, seed=seed + number)
        result = collapse(
            store.suspects(suspects_of(train_labels, predicted, suspects)),
            query_direction([asked.fingerprints]),
        )
        statistics.append(result.statistic)
        progress("calibrating the evidence test", 0.2 + 0.8 * (number + 1) / len(chosen))
    return Calibration(
        statistics=np.array(statistics, dtype=np.float32),
        test_indices=packed.n_train + chosen,
        predicted=evaluation.predicted[chosen],
    )


def calibration_of(
    store: Store,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    *,
    n_b: int = 50,
    suspects: Suspects = "label",
    progress: Progress = quiet,
) -> Calibration:
    """The calibration kept beside a store, made and kept now if it is not there."""
    path = store.path / _FILE.format(suspects=suspects, n_b=n_b)
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return Calibration(file["statistics"], file["test_indices"], file["predicted"])
    calibration = calibrate(store, packed, model, card, n_b=n_b, suspects=suspects, progress=progress)
    _save(path, calibration)
    return calibration


def choose_reference(evaluation: Evaluation, count: int, seed: int) -> NDArray[np.int64]:
    """Rows of up to `count` ordinary test images: the misclassified first, in turn over the predicted labels."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(evaluation.labels))
    predicted = evaluation.predicted[order]
    wrong = predicted != evaluation.labels[order]
    turn = np.zeros(len(order), dtype=np.int64)
    for group in (wrong, ~wrong):
        for label in np.unique(predicted):
            members = np.flatnonzero(group & (predicted == label))
            turn[members] = np.arange(len(members))
    ranked = np.lexsort((turn, ~wrong))
    return np.asarray(order[ranked[:count]], dtype=np.int64)


def _save(path: Path, calibration: Calibration) -> None:
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(
        partial,
        statistics=calibration.statistics,
        test_indices=calibration.test_indices,
        predicted=calibration.predicted,
    )
    partial.replace(path)
