"""Is there poison, and does it explain this image? Two questions, each put to the model's own ordinary test images.

The group: are the images that the collapse rule calls poison a group of the training data alone? Test images with the
same label (counterparts) hold every natural group about as often as the training images do, and no poison. The p-value
is the chance of so few counterparts in the upper component if it were at least COMMON times as common among them.

The image: does the affected image belong to that group? Its gradient lies along the group's direction further than
that of other test images when they are given the same label (strangers). The p-value is empirical.

Both must hold, so the p-value of a finding is the larger one. What is needed of the test images is made once for each
label and kept beside the store in `evidence-SUSPECTS-LABEL.npz`; what the model says of them, in `evidence-sample.npz`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import Collapse
from orfila_engine.data import PackedDataset
from orfila_engine.engines import Store
from orfila_engine.evaluation import evaluate, to_tensor
from orfila_engine.natural import MIN_COUNTERPARTS, p_natural
from orfila_engine.progress import Progress, quiet
from orfila_engine.questions import Suspects, counterpart_rows
from orfila_engine.suspects import Vector

STRICT_P = 0.01
FOUND_P = 0.05
WEAK_P = 0.2
N_STRANGERS = 199
"""The smallest p-value of an image is then 1 in 200."""
MAX_SAMPLE = 2_000
"""Test images that the strangers of every label are drawn from."""
MIN_REFERENCE = 30
"""Test images that a data set must have."""
_PREPARED_CLASSES = 20
"""With more classes than this, references are made for a label when somebody asks about it."""
Answer = Literal["poisoning found", "weak evidence", "no evidence of poisoning"]
Level = Literal["strict", "usual", "none"]


@dataclass(frozen=True)
class Evidence:
    """The answer, and what it rests on."""

    verdict: Answer
    level: Level
    """"strict" for p <= .01, "usual" for p <= .05, "none" where poisoning is not found."""
    p_value: float
    """The larger of the two below; of the second alone where the first cannot be told."""
    p_group: float
    """That the group is natural; 1 where there are too few counterparts to tell."""
    p_image: float | None
    """That an ordinary image belongs to it as clearly; None where there is no affected image (sweep)."""
    statistic: float
    """How far the group stands out in the affected image's view: see `Collapse.statistic`."""
    share_suspects: float
    """Of the suspects, in the group."""
    share_counterparts: float | None
    """Of the test images with the same label, in the group; None where there are too few of them."""
    n_counterparts: int
    n_reference: int
    """Strangers."""


@dataclass(frozen=True)
class Reference:
    """Unit gradients of test images that an answer about one label is compared with."""

    counterparts: Vector
    """[T, D] images of the label (for suspects of every label: of all), each with its true label."""
    strangers: Vector
    """[R, D] images of other labels, each as if it received this one; with few of them no p-value is small.

    None that does receive it: the trigger may be on several test images, and each of them lies as far along the
    poison's direction as the affected image (ten of them made a p-value of .25 of a planted poison, decision 7).
    """
    stranger_indices: NDArray[np.int64]
    """[R] `index` of each."""

    def cosines(self, direction: Vector) -> Vector:
        """[T] of the counterparts with a direction of unit length [D]."""
        return np.asarray(self.counterparts @ direction)

    def without(self, indices: Collection[int]) -> Reference:
        """The same less some strangers: an affected image is no ordinary one."""
        keep = ~np.isin(self.stranger_indices, list(indices))
        return Reference(self.counterparts, self.strangers[keep], self.stranger_indices[keep])


@dataclass(frozen=True)
class Calibration:
    """References by label, made when they are asked for and kept beside the store."""

    store: Store
    packed: PackedDataset
    model: nn.Module
    card: ModelCard
    suspects: Suspects = "label"

    def of(self, label: int) -> Reference:
        """The reference of a label. Raises ValueError when the data set has fewer than 30 test images."""
        path = self.path_of(label)
        if path.is_file():
            with np.load(path, allow_pickle=False) as file:
                counterparts, strangers = (file[name].astype(np.float32) for name in ("counterparts", "strangers"))
                return Reference(counterparts, strangers, file["stranger_indices"])
        made = self._make(label)
        _keep(
            path,
            counterparts=made.counterparts.astype(np.float16),
            strangers=made.strangers.astype(np.float16),
            stranger_indices=made.stranger_indices,
        )
        return made

    def path_of(self, label: int) -> Path:
        """Where the reference of a label is kept."""
        return self.store.path / f"evidence-{self.suspects}-{label}.npz"

    @cached_property
    def sample(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of test images to draw strangers from, and the label that the model gives each."""
        path = self.store.path / "evidence-sample.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as file:
                return file["rows"], file["predicted"]
        pixels, labels = self.packed.test
        rows = np.sort(np.random.default_rng(len(labels)).permutation(len(labels))[:MAX_SAMPLE])
        found = evaluate(self.model, self.card, pixels[rows], labels[rows], device="cpu")
        _keep(path, rows=rows, predicted=found.predicted)
        return rows, found.predicted

    def _make(self, label: int) -> Reference:
        pixels, labels = self.packed.test
        if len(labels) < MIN_REFERENCE:
            raise ValueError(
                f"the data set has {len(labels)} test images; the evidence test needs {MIN_REFERENCE} or more"
            )
        same = counterpart_rows(labels, label, self.suspects)
        rng = np.random.default_rng([label, len(labels)])
        rows, predicted = self.sample
        ordinary = rows[(labels[rows] != label) & (predicted != label)]
        other = np.sort(rng.permutation(ordinary)[:N_STRANGERS])
        given = np.full(len(other), label, dtype=np.int64)
        return Reference(
            counterparts=self._units(pixels, same, labels[same]),
            strangers=self._units(pixels, other, given),
            stranger_indices=self.packed.n_train + other,
        )

    def _units(self, pixels: NDArray[np.uint8], rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Vector:
        """[m, D] of test images given labels [m]; m is 0 where no test image has the label, or all receive it."""
        if len(rows) == 0:
            # Rows of the store's length, so that products with a direction hold for none as well.
            return self._units(pixels, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))[:0]
        found = self.store.query(self.model, self.card, to_tensor(pixels[rows]), torch.from_numpy(np.array(labels)))
        return units(found)


def calibration_of(
    store: Store,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    *,
    suspects: Suspects = "label",
    progress: Progress = quiet,
) -> Calibration:
    """The calibration of a store; references of every label are made now where the classes are few."""
    calibration = Calibration(store, packed, model, card, suspects)
    for label in prepared_labels(card):
        calibration.of(label)
        progress("calibrating the evidence test", (label + 1) / len(card.classes))
    return calibration


def prepared_labels(card: ModelCard) -> range:
    """The labels whose references are made with the store: every label where the classes are few, else none."""
    return range(len(card.classes) if len(card.classes) <= _PREPARED_CLASSES else 0)


def judge(result: Collapse[Vector], reference: Reference, own: Vector | None = None) -> Evidence:
    """The answer about a group of suspects and, where there are any, about affected images.

    own: [A, D] gradients of the affected images with the label that they received; their mean cosine counts.

    With too few counterparts for the first question the p-value is that of the second alone, and the answer is at most
    "weak evidence".
    """
    upper = result.mixture is not None and not result.is_majority
    share = float((result.posterior > 0.5).mean()) if upper else 0.0
    natural, among = p_group(result)
    p_image = None if own is None else _p_image(units(own), reference, result.direction)
    if share == 0:
        p = 1.0
    elif among is None and p_image is not None:
        p = p_image
    else:
        p = max(natural, p_image or 0.0)
    verdict, level = answer(p)
    if among is None and verdict == "poisoning found":
        verdict, level = "weak evidence", "none"
    return Evidence(
        verdict=verdict,
        level=level,
        p_value=p,
        p_group=natural,
        p_image=p_image,
        statistic=result.statistic,
        share_suspects=share,
        share_counterparts=among,
        n_counterparts=len(reference.counterparts),
        n_reference=len(reference.strangers),
    )


def answer(p: float) -> tuple[Answer, Level]:
    """What a p-value is called, and at which level."""
    if p <= FOUND_P:
        return "poisoning found", "strict" if p <= STRICT_P else "usual"
    return ("weak evidence" if p <= WEAK_P else "no evidence of poisoning"), "none"


def p_group(result: Collapse[Any]) -> tuple[float, float | None]:
    """p-value of the group, and the share of counterparts in it (1 and None: too few to tell)."""
    if result.counterparts is None or len(result.counterparts) < MIN_COUNTERPARTS:
        return 1.0, None
    among = result.counterparts > 0.5
    return p_natural(float((result.posterior > 0.5).mean()), among), float(among.mean())


def _keep(path: Path, **arrays: NDArray[Any]) -> None:
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.replace(path)


def _p_image(own: Vector, reference: Reference, direction: Vector) -> float:
    """(1 + number of strangers that lie at least as far along the direction) / (1 + R)."""
    strangers = reference.strangers @ direction
    return float((1 + (strangers >= float((own @ direction).mean())).sum()) / (1 + len(strangers)))


def units(rows: Vector) -> Vector:
    """Rows [m, D] scaled to length 1; a zero row stays zero."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30), dtype=np.float32)
