"""`orfila unlearn`: repair a model without some training images, and prove the repair."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from orfila_engine.architectures import load_model, save_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.commands.common import open_affected, open_data, progress_bar, read_indices
from orfila_engine.progress import part
from orfila_engine.training import check_fit
from orfila_engine.unlearning import Verification, recipe_of, verify
from orfila_engine.unlearning import unlearn as run


class Method(StrEnum):
    """How to repair."""

    eu = "eu"
    cf = "cf"


def unlearn(
    model: Annotated[Path, typer.Argument(help="The model to repair (safetensors).")],
    data: Annotated[Path, typer.Argument(help="The data set that it was trained on.")],
    remove: Annotated[Path, typer.Option(help="CSV of training images to unlearn (flagged.csv).")],
    out: Annotated[
        Path, typer.Option(help="Where to write the repaired model; NAME.verification.json goes beside it.")
    ],
    method: Annotated[
        Method, typer.Option(help="eu: retrain from scratch. cf: fine-tune on the kept images.")
    ] = Method.cf,
    affected: Annotated[
        list[str] | None, typer.Option(help="An affected picture to verify, or test:INDEX. Repeat for several.")
    ] = None,
    triggered: Annotated[
        Path | None, typer.Option(help="NPZ with `images` that carry the trigger, to measure the poison success rate.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: as trained (eu), a third, 4 or more (cf).")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate. Default: as trained.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Repair a model without some training images."""
    network, card = load_model(model)
    packed = open_data(data)
    check_fit(card, packed)
    removed = read_indices(remove, packed)
    images = open_affected(affected or [], card, packed)
    marked = _triggered(triggered, card.input_size, card.channels) if triggered is not None else None
    if marked is not None and not images:
        raise ValueError("--triggered needs --affected as well: an affected image tells which label the poison aims at")
    metadata, _ = read_header(model)
    with progress_bar() as progress:
        repaired = run(
            method.value,
            network,
            card,
            packed,
            removed,
            recipe=recipe_of(metadata),
            epochs=epochs,
            learning_rate=lr,
            seed=seed,
            device=device,
            progress=part(progress, 0, 0.9),
        )
        proof = verify(
            network,
            repaired.model,
            card,
            packed,
            images,
            triggered=marked,
            device=device,
            progress=part(progress, 0.9, 1.0),
        )
    save_model(out, repaired.model, card, repaired.trained.summary() | {"method": method.value, "seed": seed})
    report = out.with_name(out.stem + ".verification.json")
    report.write_text(json.dumps(_described(proof, method.value, len(removed), repaired.seconds), indent=1))
    typer.echo(proof.sentence())
    typer.echo(
        f"{out}: {method.value}, {len(removed):,} images removed, {repaired.seconds:.1f} s; proof in {report.name}"
    )


def _triggered(path: Path, size: tuple[int, int], channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            images = file["images"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is no NPZ file with an array 'images' ({error})") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (*size, channels):
        raise ValueError(
            f"{path} holds {images.dtype} {images.shape}; the model needs uint8 [N, {size[0]}, {size[1]}, {channels}]"
        )
    return np.asarray(images, dtype=np.uint8)


def _described(proof: Verification, method: str, n_removed: int, seconds: float) -> dict[str, object]:
    return {
        "sentence": proof.sentence(),
        "healed": proof.healed,
        "method": method,
        "n_removed": n_removed,
        "affected": [asdict(a) for a in proof.affected],
        "accuracy": {"before": proof.before.accuracy, "after": proof.after.accuracy},
        "class_accuracy": {
            "before": proof.before.class_accuracy.tolist(),
            "after": proof.after.class_accuracy.tolist(),
        },
        "changed": proof.changed.tolist(),
        "poison_success_rate": {"before": proof.psr_before, "after": proof.psr_after, "images": proof.n_triggered},
        "seconds": round(seconds, 3),
    }
