"""`orfila verify-bundle`: is a bundle what it says, and does it give the same finding again?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from orfila_engine.bundle import verify_bundle as run
from orfila_engine.commands.common import progress_bar


def verify_bundle(
    bundle: Annotated[Path, typer.Argument(help="The bundle.zip of a case.")],
    digests_only: Annotated[
        bool, typer.Option("--digests-only", help="Check the files, and do not run the investigation again.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Check every file of a bundle against its digest, and run the investigation again.

    Exit status 0 when all is as the bundle says, 1 when something differs.
    """
    with tempfile.TemporaryDirectory(prefix="orfila-bundle-") as work, progress_bar() as progress:
        found = run(bundle, Path(work), again=not digests_only, device=device, progress=progress)
    for line in found.lines():
        typer.echo(line)
    if not found.ok:
        raise typer.Exit(1)
