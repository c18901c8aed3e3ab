"""`orfila unlearn`: repair a model without some training images, and prove the repair; or only preview the removal."""

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
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import part
from orfila_engine.training import Recipe, check_fit
from orfila_engine.unlearning import Predicted, RemovalPreview, Repaired, Verification, recipe_of, verify
from orfila_engine.unlearning import unlearn as run


class Method(StrEnum):
    """How to repair; the names of `unlearning.METHODS`."""

    eu = "eu"
    cf = "cf"
    ssd = "ssd"
    scrub = "scrub"
    badt = "badt"
    influence = "influence"
    iau = "iau"
    selective = "selective"


METHOD_HELP = (
    "eu: retrain from scratch. cf: fine-tune on the kept images. scrub, badt: leave a teacher. ssd: dampen parameters. "
    "influence, selective, iau: repair in seconds with gradients."
)


def unlearn(
    model: Annotated[Path, typer.Argument(help="The model to repair (safetensors).")],
    data: Annotated[Path, typer.Argument(help="The data set that it was trained on.")],
    remove: Annotated[Path, typer.Option(help="CSV of training images to unlearn (flagged.csv).")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the repaired model; NAME.verification.json goes beside it.")
    ] = None,
    method: Annotated[Method, typer.Option(help=METHOD_HELP)] = Method.cf,
    affected: Annotated[
        list[str] | None, typer.Option(help="An affected picture to verify, or test:INDEX. Repeat for several.")
    ] = None,
    triggered: Annotated[
        Path | None, typer.Option(help="NPZ with `images` that carry the trigger, to measure the poison success rate.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="The model's index (OUT.index of investigate): for previews and `selective`.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say what the removal should do to the affected images.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: as trained (eu), a third, 4 or more (cf, scrub, badt).")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: as trained (eu, cf), chosen (scrub, badt).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training, and of the held-out images.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Repair a model without some training images."""
    if preview and (index is None or not affected):
        raise ValueError("--preview needs --affected and --index, the folder OUT.index that `orfila investigate` left")
    if not preview and out is None:
        raise ValueError("give --out, where to write the repaired model; or --preview to repair nothing")
    network, card = load_model(model)
    packed = open_data(data)
    check_fit(card, packed)
    removed = read_indices(remove, packed)
    images = open_affected(affected or [], card, packed)
    marked = _triggered(triggered, card.input_size, card.channels) if triggered is not None else None
    if marked is not None and not images:
        raise ValueError("--triggered needs --affected as well: an affected image tells which label the poison aims at")
    metadata, _ = read_header(model)
    recipe = recipe_of(metadata)
    opened = FingerprintIndex.open(index, device) if index is not None else None
    expected = None
    if opened is not None and images:
        expected = RemovalPreview(opened, packed, network, card, images, recipe or Recipe()).of(removed)
    if preview:
        assert expected is not None
        _print_preview(expected, card.classes, len(removed))
        return
    with progress_bar() as progress:
        repaired = run(
            method.value,
            network,
            card,
            packed,
            removed,
            recipe=recipe,
            epochs=epochs,
            learning_rate=lr,
            seed=seed,
            index=opened,
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
            predicted_margins=None if expected is None else [p.predicted_margin for p in expected],
            device=device,
            progress=part(progress, 0.9, 1.0),
        )
    assert out is not None
    save_model(out, repaired.model, card, repaired.summary())
    report = out.with_name(out.stem + ".verification.json")
    report.write_text(json.dumps(_described(proof, repaired), indent=1))
    typer.echo(proof.sentence())
    typer.echo(
        f"{out}: {method.value}, {len(removed):,} images removed, {repaired.seconds:.1f} s; proof in {report.name}"
    )


def _print_preview(expected: tuple[Predicted, ...], classes: tuple[str, ...], n_removed: int) -> None:
    images = "image" if n_removed == 1 else "images"
    for image in expected:
        verdict = "expected to flip" if image.expected_to_flip else "not expected to flip"
        typer.echo(
            f"{image.name}: without {n_removed:,} training {images} the margin of '{classes[image.label]}' should go "
            f"from {image.margin:+.2f} to {image.predicted_margin:+.2f}: {verdict}."
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


def _described(proof: Verification, repaired: Repaired) -> dict[str, object]:
    return {
        "sentence": proof.sentence(),
        "healed": proof.healed,
        "method": repaired.method,
        "n_removed": repaired.n_removed,
        "epochs": repaired.epochs,
        "learning_rate": repaired.learning_rate,
        "settings": repaired.settings,
        "affected": [asdict(a) for a in proof.affected],
        "accuracy": {"before": proof.before.accuracy, "after": proof.after.accuracy},
        "class_accuracy": {
            "before": proof.before.class_accuracy.tolist(),
            "after": proof.after.class_accuracy.tolist(),
        },
        "changed": proof.changed.tolist(),
        "poison_success_rate": {"before": proof.psr_before, "after": proof.psr_after, "images": proof.n_triggered},
        "seconds": round(repaired.seconds, 3),
    }
