"""Witches' Brew in a drill: the attacker's surrogates are trained on the clean data, then the poison is crafted.

Both are kept, surrogates by what they were trained with, the crafted poison by all settings of the drill.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from orfila_engine.architectures import ModelCard, load_model, save_model
from orfila_engine.attacks.base import Planted, no_trigger
from orfila_engine.attacks.witches_brew import WitchesBrew
from orfila_engine.data import PackedDataset
from orfila_engine.devices import Precision
from orfila_engine.evaluation import evaluate
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.training import train

SURROGATE_SEED = 1_000_000
"""Seeds of the surrogates start here. They do not depend on the drill's seed, so that drills may share surrogates."""


def digest_of(settings: dict[str, Any]) -> str:
    """A short name for settings that are plain JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def brew(
    packed: PackedDataset,
    attack: WitchesBrew,
    *,
    out_dir: Path,
    surrogates: Path,
    architecture: str,
    epochs: int,
    seed: int,
    augment: bool,
    precision: Precision = "auto",
    device: str = "auto",
    progress: Progress = quiet,
) -> Planted:
    """Train what surrogates are missing, choose a victim among the test images, craft the poison.

    surrogates: a folder for the attacker's models; those of the same data and training are used again.
    Writes crafted.npz into `out_dir`; one of the same settings is opened instead.
    """
    how: dict[str, Any] = {
        "data": packed.digest,
        "architecture": architecture,
        "epochs": epochs,
        "augment": augment,
        "precision": precision,
    }
    key = digest_of(how | {"attack": attack.settings(), "seed": seed})
    crafted = out_dir / f"crafted-{key}.npz"
    if crafted.is_file():
        return _open(crafted)
    models: list[nn.Module] = []
    for number in range(attack.ensemble):
        share = 0.5 / attack.ensemble
        model, card = surrogate(
            packed,
            how,
            SURROGATE_SEED + number,
            surrogates,
            device,
            part(progress, number * share, (number + 1) * share),
        )
        models.append(model)
    pixels, labels = packed.test
    predicted = evaluate(models[0], card, pixels, labels, device=device).predicted
    row, target = attack.choose_victim(labels, predicted, len(packed.classes), seed)
    made = attack.craft(
        models,
        card,
        *packed.train,
        np.array(pixels[row]),
        victim_row=row,
        source=int(labels[row]),
        target=target,
        seed=seed,
        augmented=augment,
        device=device,
        progress=part(progress, 0.5, 1.0),
    )
    _save(crafted, made.planted, made.loss)
    return made.planted


def surrogate(
    packed: PackedDataset, how: dict[str, Any], seed: int, folder: Path, device: str, progress: Progress
) -> tuple[nn.Module, ModelCard]:
    """A model of the attacker, trained on clean data as the victim's will be, but for the seed; kept in `folder`."""
    name = digest_of(how | {"seed": seed})
    path = folder / f"surrogate-{name}.safetensors"
    if not path.is_file():
        trained = train(
            how["architecture"],
            packed,
            epochs=how["epochs"],
            seed=seed,
            augment=how["augment"],
            precision=how["precision"],
            device=device,
            checkpoint_dir=folder / f"checkpoint-{name}",
            progress=lambda doing, share: progress(f"surrogate: {doing}", share),
        )
        save_model(path, trained.model, trained.card, trained.summary())
        for file in (folder / f"checkpoint-{name}").iterdir():
            file.unlink()
        (folder / f"checkpoint-{name}").rmdir()
    return load_model(path)


def _save(path: Path, planted: Planted, loss: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            indices=planted.indices,
            images=planted.images,
            labels=planted.labels,
            source=np.array(planted.source),
            target=np.array(planted.target),
            victim_row=np.array(planted.victim_row),
            loss=np.array(loss),
        )
    partial.replace(path)


def _open(path: Path) -> Planted:
    with np.load(path) as file:
        return Planted(
            attack=WitchesBrew.name,
            indices=file["indices"],
            images=file["images"],
            labels=file["labels"],
            source=int(file["source"]),
            target=int(file["target"]),
            trigger=no_trigger,
            victim_row=int(file["victim_row"]),
        )
