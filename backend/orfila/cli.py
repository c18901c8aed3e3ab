"""The command `orfila`. Commands that need torch live in other packages and are found when they are called.

Exit status: 0 it ran; 1 `doctor` found something missing; 2 bad input, with one sentence on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
import typer.core

from orfila import __version__
from orfila.audit.commands import app as audit
from orfila.errors import OrfilaError
from orfila.settings import get_settings

GROUP = "orfila.commands"
_SUMMARIES = {
    "pack": "Read a data set once, at a size of your choice.",
    "train": "Train a classifier, with or without some images.",
    "investigate": "Find the training images behind a wrong prediction.",
    "unlearn": "Repair a model without some training images.",
    "drill": "Plant a known poison, train, investigate, score against the truth.",
    "compare": "The detectors of the field side by side on one case.",
    "sweep": "Search every class of the training data, without an affected image.",
    "verify-bundle": "Check a bundle of a case, and run its investigation again.",
    "worker": "Serve queues of jobs.",
}
_OWN_LAZY = {
    "up": ("orfila.launcher:up", "Run everything on this machine until Ctrl-C."),
    "demo": ("orfila.demo:demo", "Run everything, with a finished sample case."),
    "backup": ("orfila.backup:backup_command", "Save all rows and files as one tar."),
    "restore": ("orfila.backup:restore_command", "Fill a new installation from such a tar."),
    "gc": ("orfila.garbage:gc", "Remove files that nothing refers to any more."),
    "sweeper": ("orfila.jobs.commands:sweeper", "Ring again for waiting jobs and take back lost ones."),
}


class _Lazy(typer.core.TyperCommand):
    """A command whose module is imported when it runs, not when `orfila --help` lists it."""

    def __init__(self, name: str, target: Callable[[], Callable[..., Any]], summary: str) -> None:
        super().__init__(name, help=summary)
        self._target = target

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Become the real command."""
        app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        app.command(self.name)(self._target())
        real = typer.main.get_command(app)
        return real.make_context(info_name, args, parent=parent, **extra)


class _Commands(typer.core.TyperGroup):
    """The commands of this package, and those of the entry points."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, in a steady order."""
        return sorted({*super().list_commands(ctx), *_OWN_LAZY, *_discovered()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name, not imported yet where it is a lazy one."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        if cmd_name in _OWN_LAZY:
            target, summary = _OWN_LAZY[cmd_name]
            return _Lazy(cmd_name, lambda: _load(target), summary)
        entry = _discovered().get(cmd_name)
        if entry is not None:
            return _Lazy(cmd_name, entry.load, _SUMMARIES.get(cmd_name, f"From {entry.value}."))
        return None


def _discovered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, help="Poison forensics for image classifiers."
)
user = typer.Typer(no_args_is_help=True, help="People and their API tokens.")
app.add_typer(user, name="user")
app.add_typer(audit, name="audit")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"orfila {__version__}")
        raise typer.Exit


@app.command()
def migrate() -> None:
    """Bring the database to this version's tables, and make the bucket where one is set and not there."""
    from orfila.migrations import migrate as run
    from orfila.storage import get_store

    settings = get_settings()
    run(settings.resolved_database_url)
    typer.echo("the database is up to date")
    get_store(settings).prepare()


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to bind to.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind to.", min=0, max=65535)] = None,
) -> None:
    """Serve the API and the browser interface. Run `orfila migrate` first."""
    import uvicorn

    from orfila.logs import configure

    os.umask(0o077)
    if host is not None:
        os.environ["ORFILA_HOST"] = host
    if port is not None:
        os.environ["ORFILA_PORT"] = str(port)
    get_settings.cache_clear()
    settings = get_settings()
    configure(settings)
    uvicorn.run(
        "orfila.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=3,
    )


@user.command("link")
def user_link(
    name: Annotated[str | None, typer.Argument(help="Whose; without a name the local administrator's.")] = None,
) -> None:
    """Print a link that signs a person in, once, within a day."""
    from orfila.db import Database
    from orfila.identity.service import LOCAL_ADMINISTRATOR, sign_in_link

    settings = get_settings()
    with Database(settings.resolved_database_url).transaction() as session:
        typer.echo(sign_in_link(session, settings, name or LOCAL_ADMINISTRATOR))


@user.command("add")
def user_add(
    name: Annotated[str, typer.Argument(help="Name, as it is shown.")],
    project: Annotated[str | None, typer.Option(help="Id of a project to join.")] = None,
    role: Annotated[str, typer.Option(help="owner, analyst, reviewer or viewer.")] = "reviewer",
) -> None:
    """Add a person, and let them into a project. Then give them a link: `orfila user link NAME`."""
    from orfila.db import Database
    from orfila.identity.service import create_user
    from orfila.projects.service import add_member

    with Database(get_settings().resolved_database_url).transaction() as session:
        added = create_user(session, name)
        if project is not None:
            add_member(session, project, added.id, role)
    typer.echo(f"added {name}")


@user.command("list")
def user_list() -> None:
    """Print everybody: name, rights, whether they can sign in, and their role in each project."""
    from orfila.db import Database
    from orfila.identity.people import list_accounts
    from orfila.identity.service import local_subject
    from orfila.projects.service import roles_of

    with Database(get_settings().resolved_database_url).transaction() as session:
        for account in list_accounts(session, local_subject(session)):
            rights = ["administrator"] if account.is_administrator else []
            rights += [f"{role} of {project}" for project, role in roles_of(session, account.id)]
            state = "disabled" if account.disabled else "password" if account.has_password else "link only"
            typer.echo(f"{account.name}\t{state}\t{', '.join(rights) or 'no project'}")


@user.command("disable")
def user_disable(name: Annotated[str, typer.Argument(help="Whose account.")]) -> None:
    """Sign a person out everywhere and let nothing of theirs in, until it is enabled again."""
    _change_user(name, disabled=True)


@user.command("enable")
def user_enable(name: Annotated[str, typer.Argument(help="Whose account.")]) -> None:
    """Let a disabled person in again."""
    _change_user(name, disabled=False)


@user.command("role")
def user_role(
    name: Annotated[str, typer.Argument(help="Whose.")],
    project: Annotated[str, typer.Argument(help="Id of the project.")],
    role: Annotated[str, typer.Argument(help="owner, analyst, reviewer or viewer.")],
) -> None:
    """Let a person into a project, or give them another role in it."""
    from orfila.db import Database
    from orfila.identity.service import local_subject, named
    from orfila.projects.service import add_member

    with Database(get_settings().resolved_database_url).transaction() as session:
        add_member(session, project, named(session, name).id, role, local_subject(session).name)
    typer.echo(f"{name} is {role}")


def _change_user(name: str, *, disabled: bool) -> None:
    from orfila.db import Database
    from orfila.identity.people import change
    from orfila.identity.schemas import UserChange
    from orfila.identity.service import local_subject, named

    with Database(get_settings().resolved_database_url).transaction() as session:
        change(session, local_subject(session), named(session, name).id, UserChange(disabled=disabled))
    typer.echo(f"{name} is {'disabled' if disabled else 'enabled'}")


@user.command("token")
def user_token(
    name: Annotated[str, typer.Option(help="What the token is for.")] = "command line",
    days: Annotated[int, typer.Option(help="Valid for so many days.", min=1, max=365)] = 90,
    read_only: Annotated[bool, typer.Option("--read-only", help="May read, not change.")] = False,
) -> None:
    """Print a new API token of the local administrator."""
    from orfila.db import Database
    from orfila.identity.schemas import TokenCreate
    from orfila.identity.service import create_token, local_subject

    with Database(get_settings().resolved_database_url).transaction() as session:
        body = TokenCreate(name=name, scopes=["read"] if read_only else ["read", "write"], expires_in_days=days)
        typer.echo(create_token(session, local_subject(session), body)[1])


@app.command()
def doctor() -> None:
    """Look at what Orfila needs on this machine, one line each."""
    from orfila.doctor import examine

    findings = examine(get_settings())
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'MISS'}  {finding.what}: {finding.detail}")
    if not all(f.ok for f in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line. Errors that a user can mend are one sentence and status 2."""
    try:
        app()
    except OrfilaError as error:
        _refuse(error.detail)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if root in ("orfila", "orfila_engine", "orfila_worker"):
            raise
        _refuse(f'This command needs {root}, which is not installed here: pip install "orfila[worker]".')
    except (ValueError, OSError) as error:
        _refuse(str(error))


def _refuse(sentence: str) -> None:
    typer.echo(sentence, err=True)
    sys.exit(2)
