"""What a reader must know before believing a finding: did the model learn these data, and what was not looked at?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import evaluate
from orfila_engine.progress import Progress, quiet

TRAIN_SAMPLE = 5_000
"""Training images predicted, evenly spread: ample to tell whether the model was trained on them."""
LEARNED = 0.1
"""A model that gets less than this share right of what guessing gets wrong has not learned the data."""
FEW_SUSPECTS = 20
"""So few suspects cannot be told apart by their scores."""
MAX_LEFT_OUT = 0.05
"""Share of the parameters that may stay out of an index without a word; normalisation is 1 or 2 %."""


def training_accuracy(
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    *,
    sample: int = TRAIN_SAMPLE,
    device: str = "auto",
    progress: Progress = quiet,
) -> float:
    """Share of a sample of the training images that the model predicts as they are labelled."""
    rows = np.unique(np.linspace(0, packed.n_train - 1, min(sample, packed.n_train)).astype(np.int64))
    images, labels = packed.train
    return evaluate(model, card, images[rows], labels[rows], device=device, progress=progress).accuracy


def kept_training_accuracy(model: nn.Module, card: ModelCard, packed: PackedDataset, folder: Path) -> float:
    """The same, computed once for a model and its data and kept in the folder of their index."""
    path = folder / "training-accuracy.json"
    if path.is_file():
        return float(json.loads(path.read_text()))
    accuracy = training_accuracy(model, card, packed, sample=1_000, device="cpu")
    path.write_text(json.dumps(accuracy))
    return accuracy


def untrained(accuracy: float, packed: PackedDataset) -> str | None:
    """The caveat of a model that gets hardly more of its training images right than a guess; None for any other.

    Guessing says the most frequent label every time.
    """
    chance = float(np.bincount(packed.train[1]).max()) / packed.n_train
    if accuracy >= chance + LEARNED * (1 - chance):
        return None
    return (
        f"The model predicts only {accuracy:.0%} of its training images as they are labelled, and guessing would reach "
        f"{chance:.0%}: was it trained on this data set, with this order of classes and this normalisation?"
    )


def few_suspects(n_suspects: int, label: str) -> str | None:
    """The caveat of a label that hardly any training image carries; None where there are enough suspects."""
    if n_suspects >= FEW_SUSPECTS:
        return None
    carry = "image carries" if n_suspects == 1 else "images carry"
    return (
        f"Only {n_suspects} training {carry} the label '{label}': too few to tell poison from the rest by its "
        "influence. Look at them one by one."
    )


def unindexed(left_out: Sequence[Mapping[str, Any]], n_parameters: int) -> str | None:
    """The caveat of an index that misses much of the model, naming the largest part; None where it misses little.

    left_out: modules with name, kind, n_parameters and reason, as index.json holds them. n_parameters: of the model.
    """
    missing = sum(int(item["n_parameters"]) for item in left_out)
    if not left_out or missing <= MAX_LEFT_OUT * n_parameters:
        return None
    largest = max(left_out, key=lambda item: int(item["n_parameters"]))
    layers = "1 layer" if len(left_out) == 1 else f"{len(left_out)} layers, the largest of them"
    return (
        f"{missing:,} of the model's {n_parameters:,} parameters ({missing / n_parameters:.0%}) are not looked at: "
        f"{layers} '{largest['name']}' ({largest['kind']}, {largest['n_parameters']:,} parameters: "
        f"{largest['reason']}). Poison that acts through them may be missed."
    )
