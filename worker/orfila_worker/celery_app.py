"""The Celery application of the workers: `celery -A orfila_worker.celery_app`.

A message only names a queue. What to run, and whether, is decided by claiming a shard in SQL.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import signals

from orfila.jobs.dispatch import TASK, broker_app
from orfila.launcher import die_with_parent
from orfila.logs import configure
from orfila.settings import get_settings

app = broker_app(get_settings())
READY_VARIABLE = "ORFILA_READY_FILE"
DEVICE_VARIABLE = "ORFILA_WORKER_DEVICE"
QUEUES_VARIABLE = "ORFILA_WORKER_QUEUES"


def _prepare_child(**_: Any) -> None:
    """Import torch in the prefork child only: CUDA does not survive a fork, and the parent stays small."""
    from orfila_worker.runner import start_runner

    die_with_parent()
    runner = start_runner(get_settings(), os.environ.get(DEVICE_VARIABLE, get_settings().device))
    presence = runner.be_present(os.environ.get(QUEUES_VARIABLE, "").split(","))
    signals.worker_process_shutdown.connect(lambda **_: presence.stop(), weak=False)
    if ready := os.environ.get(READY_VARIABLE):
        Path(ready).touch()


# With a receiver, Celery leaves the logging alone.
signals.setup_logging.connect(lambda **_: configure(get_settings()), weak=False)
signals.worker_process_init.connect(_prepare_child, weak=False)


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def run(queue: str) -> None:
    """The bell rang for a queue: run what waits there, until nothing does."""
    from orfila_worker.runner import current_runner

    current_runner().drain(queue)
