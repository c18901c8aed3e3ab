"""The repairs behind one interface.

| method | what it does | module |
|---|---|---|
| `eu`, `cf` | train again, or go on training, on the kept images | retraining |
| `scrub`, `badt` | a student that leaves its teacher on the removed images | distillation |
| `ssd` | shrink the parameters that matter to the removed images | dampening |
| `influence`, `selective` | a Newton step against the removed images; in all units, or in some | newton |
| `iau` | ascent on the removed images, corrected by descent on the kept | ascent |
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import Progress, quiet
from orfila_engine.training import Recipe, check_fit
from orfila_engine.unlearning.ascent import iau
from orfila_engine.unlearning.dampening import ssd
from orfila_engine.unlearning.distillation import bad_teacher, scrub
from orfila_engine.unlearning.newton import influence, selective
from orfila_engine.unlearning.retraining import catastrophic_forgetting, exact
from orfila_engine.unlearning.task import Curvature, Repair, Setting, Task

Method = Literal["eu", "cf", "ssd", "scrub", "badt", "influence", "iau", "selective"]
METHODS: dict[Method, Repair] = {
    "eu": exact,
    "cf": catastrophic_forgetting,
    "ssd": ssd,
    "scrub": scrub,
    "badt": bad_teacher,
    "influence": influence,
    "iau": iau,
    "selective": selective,
}
TRAINING: tuple[Method, ...] = ("eu", "cf", "scrub", "badt")
"""Methods that train, and so take epochs and a learning rate."""


@dataclass(frozen=True)
class Repaired:
    """A repaired model and what it took."""

    method: Method
    model: nn.Module
    """In evaluation mode on the CPU."""
    n_removed: int
    n_kept: int
    seconds: float
    settings: dict[str, Setting]
    """What was chosen, and what the choice was measured by."""
    recipe: Recipe
    """How the deployed model was trained: what exact unlearning would do again."""
    epochs: int | None
    """Of the repair; None for a method that trains nothing."""
    learning_rate: float | None
    """Peak of the repair; None for a method that trains nothing."""
    data_digest: str

    def summary(self) -> dict[str, object]:
        """For the metadata of the model file."""
        return {
            "recipe": asdict(self.recipe),
            "n_images": self.n_kept,
            "n_excluded": self.n_removed,
            "data": self.data_digest,
            "repair": {
                "method": self.method,
                "seed": self.recipe.seed,
                "epochs": self.epochs,
                "learning_rate": self.learning_rate,
                **self.settings,
            },
            "torch": torch.__version__,
        }


def unlearn(
    method: Method,
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    removed: Collection[int],
    *,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    index: FingerprintIndex | None = None,
    curvature: Curvature = "index",
    device: str = "auto",
    progress: Progress = quiet,
    checkpoint_dir: Path | None = None,
    resume: bool = True,
) -> Repaired:
    """Repair a model without the training images `removed` (by `index`). The given model is not changed.

    recipe: how the model was trained (see `recipe_of`); None takes the defaults of `Recipe`.
    epochs, learning_rate: override what the method derives from the recipe; only for methods that train (TRAINING).
    index: the fingerprint index of the model, for `influence` and `selective`, which build one when they have none.
    curvature: of the Newton step of these two: the index's, or EK-FAC's, which is fitted first.
    checkpoint_dir: methods that train continue there after an interruption.

    Raises ValueError for an unknown method, an option that it does not take, an empty set, images that are none of the
    training set, or a set that leaves a class without images. Whatever `progress` raises passes through.
    """
    if method not in METHODS:
        raise ValueError(f"unknown unlearning method '{method}'; use one of {', '.join(METHODS)}")
    if method not in TRAINING and (epochs is not None or learning_rate is not None):
        raise ValueError(f"'{method}' trains nothing; leave out epochs and learning rate, or use {', '.join(TRAINING)}")
    if curvature not in ("index", "ekfac"):
        raise ValueError(f"unknown curvature '{curvature}'; use index or ekfac")
    check_fit(card, packed)
    recipe = replace(recipe or Recipe(), seed=seed)
    task = Task(
        copy.deepcopy(model).to("cpu").eval(),
        card,
        packed,
        _checked(packed, removed),
        recipe,
        epochs,
        learning_rate,
        device,
        progress,
        checkpoint_dir,
        resume,
        index,
        curvature,
    )
    began = time.perf_counter()
    outcome = METHODS[method](task)
    trained = outcome.trained
    progress("repaired", 1.0)
    return Repaired(
        method=method,
        model=outcome.model,
        n_removed=len(task.removed),
        n_kept=packed.n_train - len(task.removed),
        seconds=time.perf_counter() - began,
        settings=outcome.settings,
        recipe=recipe,
        epochs=trained.epochs if trained else None,
        learning_rate=trained.learning_rate if trained else None,
        data_digest=packed.digest,
    )


def recipe_of(metadata: Mapping[str, str]) -> Recipe | None:
    """How a model was trained, from the `training` entry of its file's metadata; None when it does not say."""
    try:
        stored = json.loads(metadata["training"])["recipe"]
        # Fields that younger versions have added take their defaults.
        return Recipe(**{f.name: stored[f.name] for f in fields(Recipe) if f.name in stored or f.name != "precision"})
    except (KeyError, TypeError, ValueError):
        return None


def _checked(packed: PackedDataset, removed: Collection[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The set, ascending. Raises ValueError, saying what to do, when it cannot be unlearned."""
    indices = np.array(sorted({int(i) for i in removed}), dtype=np.int64)
    if len(indices) == 0:
        raise ValueError("the set to remove is empty; flag or confirm at least one training image")
    if not 0 <= indices[0] <= indices[-1] < packed.n_train:
        raise ValueError(
            f"training images are numbered 0..{packed.n_train - 1}; the set to remove holds {indices[0]} to "
            f"{indices[-1]}"
        )
    left = np.delete(packed.train[1], indices)
    emptied = sorted(set(range(len(packed.classes))) - set(np.unique(left).tolist()))
    if emptied:
        raise ValueError(
            f"no training image of the class '{packed.classes[emptied[0]]}' would be left; a model cannot keep it "
            "without any; remove fewer images"
        )
    return indices
