"""`orfila drill`: plant a known poison, train, investigate, score the finding against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orfila_engine import attacks
from orfila_engine.commands.common import open_data, progress_bar
from orfila_engine.drill import run
from orfila_engine.report import write_report


def drill(
    data: Annotated[Path, typer.Argument(help="A clean data set to poison a copy of.")],
    out: Annotated[Path, typer.Option(help="Folder for data, model, truth, index, investigation and drill.json.")],
    attack: Annotated[str, typer.Option(help=f"One of {', '.join(attacks.names())}.")] = "badnet",
    rate: Annotated[float, typer.Option(help="Share of all training images that become poison.")] = 0.02,
    seed: Annotated[int, typer.Option(help="Of the poison, the training and the transforms.")] = 0,
    source: Annotated[str | None, typer.Option(help="Victim class. Default: by seed, or every class.")] = None,
    target: Annotated[str | None, typer.Option(help="Label that triggered images shall receive.")] = None,
    arch: Annotated[str, typer.Option(help="Architecture to train.")] = "resnet20-cifar",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    affected: Annotated[int, typer.Option(min=1, max=16, help="How many triggered test images to investigate.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Plant a known poison, train, investigate, score against the truth."""
    packed = open_data(data)
    planned = attacks.make(
        attack, rate=rate, source=_class(source, packed.classes), target=_class(target, packed.classes)
    )
    with progress_bar() as progress:
        result = run(
            packed,
            planned,
            out_dir=out,
            architecture=arch,
            epochs=epochs,
            seed=seed,
            n_affected=affected,
            device=device,
            progress=progress,
        )
    write_report(out / "investigation", result.packed, out / "investigation" / "report.html")
    report = result.report
    table = Table("rule", "flagged", "precision", "recall")
    for name in ("collapse_rule", "paper_rule"):
        row = report[name]
        table.add_row(
            name.replace("_", " "), f"{row['n_flagged']:,}", f"{row['precision']:.3f}", f"{row['recall']:.3f}"
        )
    Console().print(table)
    typer.echo(
        f"{report['collapse_rule']['n_poison']:,} poisons planted for '{report['target']}', poison success rate "
        f"{report['poison_success_rate']:.1%}, average precision {report['average_precision']:.3f}, "
        f"{report['evidence']['verdict']} (p = {report['evidence']['p_value']:.2f}), {report['seconds']:.0f} s"
    )
    if not report["took_hold"]:
        typer.echo("The poison did not take hold (success rate below 50 %); train longer or raise the rate.")


def _class(name: str | None, classes: tuple[str, ...]) -> int | None:
    if name is None:
        return None
    if name not in classes:
        raise ValueError(f"the data set has no class '{name}'; its classes are {', '.join(classes)}")
    return classes.index(name)
