"""`orfila sweep`: is there poison in the training data, without any affected image?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orfila_engine.architectures import load_model
from orfila_engine.commands.common import kept_index, open_data, progress_bar
from orfila_engine.progress import part
from orfila_engine.sweep import sweep as run
from orfila_engine.sweep import write_sweep
from orfila_engine.training import check_fit


def sweep(
    model: Annotated[Path, typer.Argument(help="The model: safetensors with its card in metadata or beside it.")],
    data: Annotated[Path, typer.Argument(help="The data set that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for sweep.json, flagged.csv and flagged.json.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Search every class of the training data for poison.

    The index is kept in OUT.index and used again, also by `investigate` with the same OUT.
    """
    network, card = load_model(model)
    packed = open_data(data)
    check_fit(card, packed)
    with progress_bar() as progress:
        index = kept_index(
            out.with_name(out.name + ".index"), network, card, packed, device=device, progress=part(progress, 0, 0.5)
        )
        result = run(index, packed, network, card, progress=part(progress, 0.5, 1.0))
    write_sweep(result, packed, out)
    table = Table("class", "images", "answer", "p", "flagged")
    for found in result.classes:
        table.add_row(
            found.name,
            f"{found.n_images:,}",
            found.evidence.verdict,
            f"{found.evidence.p_value:.2g}",
            f"{len(found.flagged):,}" if found.accused else "",
        )
    Console().print(table)
    typer.echo(result.sentence)
    typer.echo(f"Results: {out}")
