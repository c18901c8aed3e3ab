"""`orfila audit`: export the trail, and verify it here or in an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orfila.audit import service
from orfila.db import Database
from orfila.errors import Unprocessable
from orfila.settings import get_settings

app = typer.Typer(no_args_is_help=True, help="The audit trail: who did what, in a chain that shows tampering.")


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An exported trail; without one, this installation's.")] = None,
) -> None:
    """Walk the whole chain; status 1 where it is broken, and which event is the first."""
    if file is None:
        with Database(get_settings().resolved_database_url).reading() as session:
            found = service.check(session)
    else:
        try:
            with file.open(encoding="utf-8") as lines:
                found = service.check_events(service.read_exported(lines))
        except OSError as error:
            raise Unprocessable(f"{file} cannot be read ({error.strerror}).") from error
    if not found.ok:
        typer.echo(f"broken at event {found.first_broken_id}: this or a later event was altered; head {found.head}")
        raise typer.Exit(1)
    typer.echo(f"whole: {found.n_events} events, head {found.head}")


@app.command()
def export(file: Annotated[Path, typer.Argument(help="Where to write; it must not be there yet.")]) -> None:
    """Write the whole trail, a line of JSON for each event."""
    try:
        with (
            file.open("x", encoding="utf-8") as out,
            Database(get_settings().resolved_database_url).reading() as session,
        ):
            out.writelines(service.export(session))
    except FileExistsError as error:
        raise Unprocessable(f"{file} is there already; choose another name.") from error
    typer.echo(f"wrote {file}")
