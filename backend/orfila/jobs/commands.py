"""`orfila sweeper`: the process that rings again, takes back what dead workers held, and sends webhooks and e-mails."""

from __future__ import annotations

import signal
import threading

import typer

from orfila.jobs.sweeper import run
from orfila.logs import configure
from orfila.settings import get_settings
from orfila.talk import mail
from orfila.webhooks import delivery


def sweeper() -> None:
    """Run the sweeper until it is stopped. Any number may run; one is enough."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = get_settings()
    configure(settings)
    # Apart from the rounds of the sweeper: a host that answers slowly keeps nobody's shard waiting.
    for wanted, sender in ((settings.webhooks, delivery.run), (settings.smtp_url is not None, mail.run)):
        if wanted:
            threading.Thread(target=sender, args=(settings, stop), daemon=True).start()
    run(settings, stop)


if __name__ == "__main__":
    typer.run(sweeper)
