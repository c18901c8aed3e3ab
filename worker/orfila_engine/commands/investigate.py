"""`orfila investigate`: the training images behind a wrong prediction."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orfila_engine.architectures import load_model
from orfila_engine.commands.common import open_affected, open_data, progress_bar
from orfila_engine.fingerprint import FingerprintIndex, build_index, model_digest
from orfila_engine.investigation import investigate as run
from orfila_engine.progress import part
from orfila_engine.report import write_report
from orfila_engine.training import check_fit


class Engine(StrEnum):
    """How influence is computed."""

    fingerprint = "fingerprint"


class Rule(StrEnum):
    """Which rule decides what is flagged."""

    collapse = "collapse"
    paper = "paper"


class Suspects(StrEnum):
    """Which training images may be flagged."""

    label = "label"
    all = "all"


def investigate(
    model: Annotated[Path, typer.Argument(help="The model: safetensors with its card in metadata or beside it.")],
    data: Annotated[Path, typer.Argument(help="The data set that the model was trained on.")],
    affected: Annotated[list[str], typer.Option(help="A misclassified picture, or test:INDEX. Repeat for several.")],
    out: Annotated[Path, typer.Option(help="Folder for flagged.csv, scores.parquet, summary.json, report.html.")],
    engine: Annotated[Engine, typer.Option(help="How influence is computed.")] = Engine.fingerprint,
    rule: Annotated[
        Rule, typer.Option(help="The automatic rule, or that of the Delta-Influence paper.")
    ] = Rule.collapse,
    suspects: Annotated[
        Suspects, typer.Option(help="Suspect images that carry the predicted label, or all.")
    ] = Suspects.label,
    queries: Annotated[int, typer.Option(min=10, max=200, help="Transformed queries for each affected image.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the transforms.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find the training images behind a wrong prediction.

    The index is kept in OUT.index and used again for the next question about the same model and data.
    """
    network, card = load_model(model)
    packed = open_data(data)
    check_fit(card, packed)
    images = open_affected(affected, card, packed)
    index_dir = out.with_name(out.name + ".index")
    with progress_bar() as progress:
        index = _kept_index(index_dir, model_digest(network, card), packed.digest, device)
        if index is None:
            index = build_index(
                network,
                card,
                *packed.train,
                index_dir,
                device=device,
                data_digest=packed.digest,
                progress=part(progress, 0, 0.6),
            )
        found = run(
            index,
            packed,
            network,
            card,
            images,
            out_dir=out,
            rule=rule.value,
            n_b=queries,
            seed=seed,
            suspects=suspects.value,
            progress=part(progress, 0.6, 1.0),
        )
    write_report(out, packed, out / "report.html")
    for image in images:
        if image.note:
            typer.echo(f"{image.name} was converted: {image.note}")
    typer.echo(found.summary["sentence"])
    typer.echo(f"Results: {out}")


def _kept_index(path: Path, model: str, data: str, device: str) -> FingerprintIndex | None:
    """The index of an earlier run, if it is of the same model and data."""
    try:
        index = FingerprintIndex.open(path, device)
    except ValueError:
        return None
    return index if (index.meta["model"], index.meta["data"]) == (model, data) else None
