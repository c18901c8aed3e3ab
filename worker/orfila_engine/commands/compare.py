"""`orfila compare`: the detectors of the field side by side on one case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from orfila_engine import detectors
from orfila_engine.architectures import load_model
from orfila_engine.commands.common import kept_index, open_affected, open_data, progress_bar, read_indices
from orfila_engine.comparison import Comparison, Measured, write
from orfila_engine.comparison import compare as run
from orfila_engine.detectors import DetectorInput
from orfila_engine.investigation import one_symptom, predict_affected
from orfila_engine.progress import part
from orfila_engine.training import check_fit


def compare(
    model: Annotated[Path, typer.Argument(help="The model: safetensors with its card in metadata or beside it.")],
    data: Annotated[Path, typer.Argument(help="The data set that the model was trained on.")],
    affected: Annotated[list[str], typer.Option(help="A misclassified picture, or test:INDEX. Repeat for several.")],
    out: Annotated[Path, typer.Option(help="Folder for comparison.json and comparison.parquet.")],
    truth: Annotated[
        Path | None, typer.Option(help="CSV of the poisoned images (path, index), as a drill's truth.csv.")
    ] = None,
    detector: Annotated[
        list[str] | None, typer.Option(help=f"Repeat for several; default all: {', '.join(detectors.names())}.")
    ] = None,
    expected_share: Annotated[
        float, typer.Option(help="Share of poison in a class that Spectral Signatures is told.")
    ] = 0.1,
    queries: Annotated[int, typer.Option(min=10, max=200, help="Transformed queries for each affected image.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the transforms.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Compare detectors on one case, with precision and recall where the truth is known.

    The test images serve as known clean pictures for the detector that learns from such. The index is kept in
    OUT.index, and used again.
    """
    chosen = [
        detectors.make(name, **({"expected_share": expected_share} if name == "spectral-signatures" else {}))
        for name in detector or detectors.names()
    ]
    network, card = load_model(model)
    packed = open_data(data)
    check_fit(card, packed)
    images = open_affected(affected, card, packed)
    predicted = one_symptom(predict_affected(network, card, images), images, card)
    poison = read_indices(truth, packed) if truth is not None else None
    with progress_bar() as progress:
        index = kept_index(
            out.with_name(out.name + ".index"), network, card, packed, device=device, progress=part(progress, 0, 0.4)
        )
        evidence = DetectorInput(
            packed, network, card, index, np.stack([a.pixels for a in images]), predicted, packed.test[0],
            n_b=queries, seed=seed, device=device,
        )  # fmt: skip
        result = run(evidence, chosen, poison, progress=part(progress, 0.4, 1.0))
    write(result, evidence, out, affected=[a.name for a in images], truth=poison)
    Console().print(_table(result))
    typer.echo(
        f"Label '{card.classes[predicted]}': {result.n_label:,} of {result.n_train:,} training images"
        + ("." if result.n_poison is None else f"; {result.n_poison:,} are poisoned.")
    )
    for row in result.rows:
        if row.error:
            typer.echo(f"{row.detector} gave no answer: {row.error}")
    typer.echo(f"Results: {out}")


def _table(result: Comparison) -> Table:
    known = result.n_poison is not None
    figures = ["flagged", "precision", "recall", "AP"] if known else ["flagged"]
    table = Table("detector", *(f"{f}, all" for f in figures), *(f"{f}, label" for f in figures), "seconds")
    for row in result.rows:
        cells = [*_cells(row.all_classes, known), *_cells(row.label, known)]
        table.add_row(row.detector, *cells, f"{row.seconds:.1f}")
    return table


def _cells(measured: Measured | None, known: bool) -> list[str]:
    if measured is None:
        return ["-"] * (4 if known else 1)
    shares = (measured.precision, measured.recall, measured.average_precision) if known else ()
    return [f"{measured.n_flagged:,}", *("-" if s is None else f"{s:.3f}" for s in shares)]
