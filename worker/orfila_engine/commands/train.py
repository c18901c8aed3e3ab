"""`orfila train`: a classifier from a data set, with or without some images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orfila_engine.architectures import save_model
from orfila_engine.commands.common import Numbers, open_data, progress_bar, read_indices
from orfila_engine.evaluation import evaluate
from orfila_engine.training import train as run


def train(
    data: Annotated[Path, typer.Argument(help="Class folders, zip, tar, NPZ, Parquet, IDX or CIFAR binary.")],
    out: Annotated[Path, typer.Option(help="Where to write the model (safetensors).")],
    arch: Annotated[str, typer.Option(help="Architecture: ours, torchvision:NAME or timm:NAME.")] = "resnet20-cifar",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model on the same machine.")] = 0,
    exclude: Annotated[Path | None, typer.Option(help="CSV of training images to leave out (flagged.csv).")] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images in one step.")] = 128,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.1,
    augment: Annotated[bool, typer.Option(help="Random shifts, and flips of colour pictures.")] = True,
    precision: Annotated[Numbers, typer.Option(help="bfloat16: faster where the processor has it.")] = Numbers.auto,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for a checkpoint after each epoch; an existing one is continued.")
    ] = None,
) -> None:
    """Train a classifier, with or without some images."""
    packed = open_data(data)
    left_out = read_indices(exclude, packed) if exclude is not None else []
    with progress_bar() as progress:
        trained = run(
            arch,
            packed,
            epochs=epochs,
            seed=seed,
            exclude=left_out,
            batch_size=batch_size,
            lr=lr,
            augment=augment,
            precision=precision.value,
            device=device,
            progress=progress,
            checkpoint_dir=checkpoints,
        )
    save_model(out, trained.model, trained.card, trained.summary())
    accuracy = evaluate(trained.model, trained.card, *packed.test, device=device).accuracy
    typer.echo(
        f"{out}: {arch}, {trained.n_images:,} images ({trained.n_excluded:,} left out), {epochs} epochs, "
        f"test accuracy {accuracy:.1%}, {trained.seconds:.1f} s"
    )
