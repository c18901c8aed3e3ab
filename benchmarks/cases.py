"""A case: a trained model, the data that it was trained on, and what is known of the poison in them.

Cases are read from the folders that `plant_and_train` writes, whether the benchmark made them or a bank of trained
models was given (`--bank`); a bank is never written to.
"""

from __future__ import annotations

import csv
import fcntl
import json
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from benchmarks.plan import AttackPlan, Plan
from orfila_engine.architectures import ModelCard, load_model, save_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.brewing import SURROGATE_SEED, surrogate
from orfila_engine.commands.common import kept_index
from orfila_engine.data import PackedDataset
from orfila_engine.detectors import DetectorInput
from orfila_engine.evaluation import evaluate
from orfila_engine.evidence import Calibration, calibration_of
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected
from orfila_engine.planting import plant_and_train
from orfila_engine.progress import quiet
from orfila_engine.training import Recipe, train
from orfila_engine.unlearning import recipe_of

CLEAN = "clean"


@dataclass(frozen=True)
class Case:
    """A finished model. Everything but the index is read from `path`; the index is made in `work` and kept."""

    name: str
    path: Path
    work: Path
    packed: PackedDataset
    about: dict[str, Any]
    """planting.json; empty for a clean model."""

    @cached_property
    def loaded(self) -> tuple[nn.Module, ModelCard]:
        """Model and card."""
        return load_model(self.path / "model.safetensors")

    @cached_property
    def recipe(self) -> Recipe | None:
        """How the model was trained."""
        return recipe_of(read_header(self.path / "model.safetensors")[0])

    @cached_property
    def index(self) -> FingerprintIndex:
        """The fingerprint index of the case, built by one process while others that want it wait."""
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / "index.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return kept_index(self.work / "index", *self.loaded, self.packed, device="auto", progress=quiet)

    @cached_property
    def calibration(self) -> Calibration:
        """Reference statistics of the evidence test."""
        return calibration_of(self.index, self.packed, *self.loaded)

    @cached_property
    def triggered(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The victims among the test images, with the trigger where there is one, and their true labels."""
        with np.load(self.path / "triggered.npz", allow_pickle=False) as file:
            return file["images"], file["labels"]

    @cached_property
    def affected(self) -> Affected:
        """The affected image that the case starts from. Raises ValueError when the poison fools the model nowhere."""
        path = self.path / "affected-0.png"
        if not path.is_file():
            raise ValueError("the poison fools the model on no test image")
        with Image.open(path) as image:
            pixels = np.asarray(image, dtype=np.uint8).reshape(*self.packed.pixels.shape[1:])
        images, labels = self.triggered
        same = np.flatnonzero((images == pixels).reshape(len(images), -1).all(1))
        return Affected(pixels, path.name, int(labels[same[0]]) if len(same) else None)

    @cached_property
    def predicted(self) -> int:
        """The label that the affected image receives."""
        pixels = self.affected.pixels[None]
        return int(evaluate(*self.loaded, pixels, np.array([-1]), device="cpu").predicted[0])

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """`index` of the poison behind the label that the affected image receives."""
        return np.array(sorted(self.poison_of(self.packed.classes[self.predicted])), dtype=np.int64)

    def poison_of(self, label: str) -> set[int]:
        """`index` of the poison that carries a label, by its name."""
        with (self.path / "truth.csv").open(newline="", encoding="utf-8") as file:
            return {int(row["index"]) for row in csv.DictReader(file) if row["label"] == label}

    def evidence(self) -> DetectorInput:
        """What detectors see of the case. The test images are clean: attacks change training images alone."""
        model, card = self.loaded
        images, clean = self.affected.pixels[None], self.packed.test[0]
        return DetectorInput(self.packed, model, card, self.index, images, self.predicted, clean)


def make_surrogates(plan: Plan, attack_plan: AttackPlan, packed: Path, folder: Path) -> dict[str, Any]:
    """Train the models that an attacker crafts with, in `folder`, unless they are there."""
    began = time.perf_counter()
    opened = PackedDataset.open(packed)
    attack = attack_plan.attack
    how = {
        "data": opened.digest,
        "architecture": plan.architecture,
        "epochs": attack_plan.epochs,
        "augment": attack.augmented,
        "precision": plan.precision,
    }
    n_models = attack.settings()["ensemble"]
    for number in range(n_models):
        surrogate(opened, how, SURROGATE_SEED + number, folder, "auto", quiet)
    return {"n_models": n_models, "seconds_now": round(time.perf_counter() - began, 1)}


def make_poisoned(
    plan: Plan, attack_plan: AttackPlan, seed: int, packed: Path, folder: Path, surrogates: Path
) -> dict[str, Any]:
    """Plant and train a case in `folder` unless it is there; returns its planting.json and the seconds it took now."""
    began = time.perf_counter()
    made = plant_and_train(
        PackedDataset.open(packed),
        attack_plan.attack,
        out_dir=folder,
        architecture=plan.architecture,
        epochs=attack_plan.epochs,
        seed=seed,
        precision=plan.precision,
        surrogates=surrogates,
    )
    return made.about | {"seconds_now": round(time.perf_counter() - began, 1)}


def make_clean(plan: Plan, seed: int, packed: Path, folder: Path) -> dict[str, Any]:
    """Train a model on the clean data, in `folder`, unless one of the same recipe is there."""
    began = time.perf_counter()
    opened = PackedDataset.open(packed)
    path = folder / "model.safetensors"
    recipe = Recipe(epochs=plan.clean_epochs, seed=seed, augment=False, precision=plan.precision)
    if not path.is_file() or recipe_of(read_header(path)[0]) != recipe:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = folder / f"checkpoint-{recipe.epochs}-{recipe.precision}"
        trained = train(
            plan.architecture,
            opened,
            epochs=recipe.epochs,
            seed=seed,
            augment=recipe.augment,
            precision=recipe.precision,
            checkpoint_dir=checkpoint,
        )
        save_model(path, trained.model, trained.card, trained.summary())
        shutil.rmtree(checkpoint)
    accuracy = evaluate(*load_model(path), *opened.test).accuracy
    return {"accuracy": accuracy, "epochs": plan.clean_epochs, "seconds_now": round(time.perf_counter() - began, 1)}


def open_case(name: str, path: Path, work: Path, clean: Path) -> Case:
    """Open a trained case. clean: the pack without poison, which clean models were trained on."""
    if name.startswith(f"{CLEAN}-"):
        return Case(name, path, work, PackedDataset.open(clean), {})
    about = json.loads((path / "planting.json").read_text())
    return Case(name, path, work, PackedDataset.open(path / "data"), about)
