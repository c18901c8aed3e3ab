"""The first half of a drill: plant a known poison in a copy of a data set, train a model on it, see whether it erred.

It can be used alone, and it is resumed by what lies on disk: a model that was trained with the same settings is opened,
a training that was stopped goes on from its last epoch.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from orfila_engine.architectures import ModelCard, load_model, save_model
from orfila_engine.attacks import Attack, Planted, WitchesBrew
from orfila_engine.brewing import brew, digest_of
from orfila_engine.data import PackedDataset, pack
from orfila_engine.data.derive import Replaced
from orfila_engine.devices import Precision
from orfila_engine.evaluation import Evaluation, evaluate
from orfila_engine.investigation import Affected
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.training import train

MIN_PSR = 0.5
"""Below this a planted trigger did not take hold, and there is little to find."""
FORMAT = "orfila-planting/1"


@dataclass(frozen=True)
class PoisonedModel:
    """A data set with a known poison and a model that was trained on it; everything lies in `path`."""

    path: Path
    planted: Planted
    packed: PackedDataset
    """The poisoned data set."""
    model: nn.Module
    card: ModelCard
    victims: NDArray[np.uint8]
    """[V, H, W, C] the victims among the test images, with the trigger where there is one."""
    outcome: Evaluation
    """What the model says of them; `outcome.labels` are their true labels."""
    about: dict[str, Any]
    """What planting.json says: attack, source, target, rate, poison success rate, accuracy, settings."""

    def affected(self, count: int = 1) -> list[Affected]:
        """The victims that fool the model with the most confidence. Raises ValueError when no victim does."""
        fooled = np.flatnonzero(self.planted.fooled(self.outcome.predicted, self.outcome.labels))
        if len(fooled) == 0:
            raise ValueError(
                "the planted poison fools the model on no test image; train longer, or use a higher rate or another "
                "attack"
            )
        best = fooled[np.argsort(-self.outcome.confidence[fooled], kind="stable")]
        # Random flips fool in all directions; images that are asked about together must receive one label.
        same = best[self.outcome.predicted[best] == self.outcome.predicted[best[0]]][:count].tolist()
        rows = self.planted.victims(self.packed.test[1])
        return [
            Affected(
                self.victims[victim],
                f"affected-{number}.png",
                int(self.outcome.labels[victim]),
                None if self.planted.has_trigger else self.packed.n_train + int(rows[victim]),
            )
            for number, victim in enumerate(same)
        ]


def plant(packed: PackedDataset, attack: Attack, seed: int, out_dir: Path) -> tuple[Planted, PackedDataset]:
    """Poison a data set into a new pack at `out_dir`. Names, order and the test images stay as they are."""
    images, labels = packed.train
    planted = attack.plant(images, labels, len(packed.classes), seed)
    return planted, write_poisoned(packed, planted, out_dir)


def write_poisoned(packed: PackedDataset, planted: Planted, out_dir: Path) -> PackedDataset:
    """A copy of a data set with a poison in it, at `out_dir`, which is replaced."""
    shutil.rmtree(out_dir, ignore_errors=True)
    return pack(Replaced(packed, planted.indices, planted.images, planted.labels), out_dir)


def triggered_test(packed: PackedDataset, planted: Planted) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The victims among the test images with the trigger on them [V, H, W, C], and their true labels [V]."""
    pixels, labels = packed.test
    victims = planted.victims(labels)
    return planted.trigger(np.array(pixels[victims])), labels[victims]


def plant_and_train(
    packed: PackedDataset,
    attack: Attack | WitchesBrew,
    *,
    out_dir: Path,
    architecture: str,
    epochs: int,
    seed: int = 0,
    augment: bool | None = None,
    precision: Precision = "auto",
    n_affected: int = 1,
    surrogates: Path | None = None,
    device: str = "auto",
    progress: Progress = quiet,
) -> PoisonedModel:
    """Plant a poison and train on it, in `out_dir`; what is there from the same settings is not made again.

    data/ the poisoned pack · truth.csv · model.safetensors · triggered.npz (images, labels: the victims) ·
    affected-N.png · planting.json (written last: settings, poison success rate, accuracy).

    augment: random shifts and flips in training; by default what the attack needs to take hold.
    surrogates: folder for the attacker's models of Witches' Brew, which drills over one data set may share; a folder in
    `out_dir` by default.

    Raises ValueError when the attack does not fit the data. A poison that fools the model nowhere is no error here.
    """
    augment = attack.augmented if augment is None else augment
    settings = {
        "attack": attack.settings(),
        "data": packed.digest,
        "architecture": architecture,
        "epochs": epochs,
        "seed": seed,
        "augment": augment,
        "precision": precision,
    }
    began = 0.0
    if isinstance(attack, WitchesBrew):
        began = 0.6
        planted = brew(
            packed,
            attack,
            out_dir=out_dir,
            surrogates=surrogates or out_dir / "surrogates",
            architecture=architecture,
            epochs=epochs,
            seed=seed,
            augment=augment,
            precision=precision,
            device=device,
            progress=part(progress, 0.0, began),
        )
    else:
        planted = attack.plant(*packed.train, len(packed.classes), seed)
    found = _finished(out_dir, settings)
    if found is None:
        found = _train(packed, planted, out_dir, settings, device, part(progress, began, 1.0))
    poisoned, about = found
    model, card = load_model(out_dir / "model.safetensors")
    images, labels = triggered_test(packed, planted)
    outcome = evaluate(model, card, images, labels, device=device)
    made = PoisonedModel(out_dir, planted, poisoned, model, card, images, outcome, about)
    if about["n_fooled"]:
        for affected in made.affected(n_affected):
            Image.fromarray(affected.pixels.squeeze()).save(out_dir / affected.name)
    progress("planted", 1.0)
    return made


def _finished(out_dir: Path, settings: dict[str, Any]) -> tuple[PackedDataset, dict[str, Any]] | None:
    """What an earlier run with the same settings has made."""
    try:
        about = json.loads((out_dir / "planting.json").read_text())
        if about.get("format") != FORMAT or about["settings"] != settings:
            return None
        return PackedDataset.open(out_dir / "data"), about
    except (OSError, ValueError):
        return None


def _train(
    packed: PackedDataset,
    planted: Planted,
    out_dir: Path,
    settings: dict[str, Any],
    device: str,
    progress: Progress,
) -> tuple[PackedDataset, dict[str, Any]]:
    began = time.perf_counter()
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "planting.json").unlink(missing_ok=True)
    progress("planting the poison", 0.0)
    poisoned = write_poisoned(packed, planted, out_dir / "data")
    _write_truth(out_dir / "truth.csv", poisoned, planted)
    checkpoints = out_dir / f"checkpoint-{digest_of(settings)}"
    trained = train(
        settings["architecture"],
        poisoned,
        epochs=settings["epochs"],
        seed=settings["seed"],
        augment=settings["augment"],
        precision=settings["precision"],
        device=device,
        checkpoint_dir=checkpoints,
        progress=part(progress, 0.03, 0.95),
    )
    save_model(out_dir / "model.safetensors", trained.model, trained.card, trained.summary())
    images, labels = triggered_test(packed, planted)
    np.savez_compressed(out_dir / "triggered.npz", images=images, labels=labels)
    outcome = evaluate(trained.model, trained.card, images, labels, device=device)
    n_fooled = int(planted.fooled(outcome.predicted, labels).sum())
    psr = n_fooled / max(1, len(images))
    about = {
        "format": FORMAT,
        "settings": settings,
        "attack": planted.attack,
        "source": None if planted.source is None else packed.classes[planted.source],
        "target": None if planted.target is None else packed.classes[planted.target],
        "n_poison": len(planted.indices),
        "rate": len(planted.indices) / packed.n_train,
        "has_trigger": planted.has_trigger,
        "n_victims": len(images),
        "n_fooled": n_fooled,
        "poison_success_rate": psr,
        # Without a trigger there is no back door that opens for most victims: one image that errs is what there is.
        "took_hold": psr >= MIN_PSR if planted.has_trigger else n_fooled > 0,
        "accuracy": evaluate(trained.model, trained.card, *packed.test, device=device).accuracy,
        "training_accuracy": trained.history[-1].accuracy,
        "seconds_of_training": round(time.perf_counter() - began, 2),
    }
    part_file = out_dir / "planting.json.part"
    part_file.write_text(json.dumps(about, indent=1))
    part_file.replace(out_dir / "planting.json")
    shutil.rmtree(checkpoints)
    return poisoned, about


def _write_truth(path: Path, poisoned: PackedDataset, planted: Planted) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "index", "label"])
        for index, label in zip(planted.indices.tolist(), planted.labels.tolist(), strict=True):
            writer.writerow([poisoned.names[index], index, poisoned.classes[label]])
