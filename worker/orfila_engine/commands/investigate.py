"""`orfila investigate`: the training images behind a wrong prediction."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from orfila_engine.architectures import ModelCard, load_model
from orfila_engine.commands.common import kept_index, open_affected, open_data, progress_bar
from orfila_engine.confirmation import confirm as confirm_finding
from orfila_engine.data import PackedDataset
from orfila_engine.ekfac import EkfacEngine, EkfacSpec, fit_factors, kept_engine
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import investigate as run
from orfila_engine.progress import Progress, part
from orfila_engine.refit import read_verdicts, refit
from orfila_engine.report import write_report
from orfila_engine.training import check_fit

_CONFIRMING_IMAGES = 2_000
"""Images that estimate the curvature for a confirmation, where the engine has no factors of its own."""


class Engine(StrEnum):
    """How influence is computed."""

    fingerprint = "fingerprint"
    ekfac = "ekfac"


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
    verdicts: Annotated[
        Path | None, typer.Option(help="Learn from a CSV file: index,verdict (poison or clean) of training images.")
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Also rank the suspects by exact derivatives along the final direction.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find the training images behind a wrong prediction.

    The index is kept in OUT.index (the factors of EK-FAC in OUT.ekfac) and used again for the next question about the
    same model and data.
    """
    network, card = load_model(model)
    packed = open_data(data)
    check_fit(card, packed)
    images = open_affected(affected, card, packed)
    said = None if verdicts is None else read_verdicts(verdicts)
    with progress_bar() as progress:
        made = _engine(engine, out, network, card, packed, device, part(progress, 0, 0.5))
        found = run(
            made,
            packed,
            network,
            card,
            images,
            out_dir=out,
            rule=rule.value,
            n_b=queries,
            seed=seed,
            suspects=suspects.value,
            progress=part(progress, 0.5, 0.9 if confirm else 1.0),
        )
        if said is not None:
            poison, clean = said
            found = refit(out, made, packed, network, card, images, poison=poison, clean=clean, out_dir=out)
        exact = _confirm(found.path, packed, network, card, made, device, part(progress, 0.9, 1)) if confirm else ""
    write_report(out, packed, out / "report.html")
    for image in images:
        if image.note:
            typer.echo(f"{image.name} was converted: {image.note}")
    typer.echo(found.summary["sentence"])
    if exact:
        typer.echo(exact)
    for warning in found.summary["warnings"]:
        typer.echo(f"Beware: {warning}")
    typer.echo(f"Results: {out}")


def _engine(
    name: Engine, out: Path, model: nn.Module, card: ModelCard, packed: PackedDataset, device: str, progress: Progress
) -> FingerprintIndex | EkfacEngine:
    if name is Engine.ekfac:
        path = out.with_name(out.name + ".ekfac")
        return kept_engine(path, model, card, packed, device=device, progress=progress)
    return kept_index(out.with_name(out.name + ".index"), model, card, packed, device=device, progress=progress)


def _confirm(
    folder: Path,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    engine: FingerprintIndex | EkfacEngine,
    device: str,
    progress: Progress,
) -> str:
    """Confirm the finding and say how far it holds."""
    if isinstance(engine, EkfacEngine):
        factors = engine.factors
    else:
        spec = EkfacSpec(n_images=_CONFIRMING_IMAGES)
        factors = fit_factors(model, card, packed.train[0], spec, device=device, progress=part(progress, 0, 0.6))
    return confirm_finding(
        folder, packed, model, card, factors, device=device, progress=part(progress, 0.6, 1)
    ).sentence()
