"""`orfila sweeper`: the process that rings again, takes back what dead workers held, and sends webhooks."""

from __future__ import annotations

import signal
import threading

import typer

from orfila.jobs.sweeper import run
from orfila.logs import configure
from orfila.settings import get_settings
from orfila.webhooks import delivery


def sweeper() -> None:
    """Run the sweeper until it is stopped. Any number may run; one is enough."""
    stop = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: stop.set())
    settings = get_settings()
    configure(settings)
    if settings.webhooks:
        # Apart from the rounds of the sweeper: a host that answers slowly keeps nobody's shard waiting.
        threading.Thread(target=delivery.run, args=(settings, stop), name="webhooks", daemon=True).start()
    run(settings, stop)


if __name__ == "__main__":
    typer.run(sweeper)
