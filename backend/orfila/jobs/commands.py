"""`orfila sweeper`: the process that rings again and takes back what dead workers held."""

from __future__ import annotations

import signal
import threading

import typer

from orfila.jobs.sweeper import run
from orfila.logs import configure
from orfila.settings import get_settings


def sweeper() -> None:
    """Run the sweeper until it is stopped. Any number may run; one is enough."""
    stop = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: stop.set())
    configure(get_settings())
    run(get_settings(), stop)


if __name__ == "__main__":
    typer.run(sweeper)
