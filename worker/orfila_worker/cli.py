"""`orfila worker`: one Celery worker process with one prefork child, for some queues and one device."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import typer

from orfila.logs import configure
from orfila.settings import get_settings
from orfila_worker.celery_app import DEVICE_VARIABLE, QUEUES_VARIABLE

QUEUES = ("interactive", "gpu", "cpu", "ingest")


def worker(
    queues: Annotated[str, typer.Option(help="Queues to serve, comma-separated.")] = ",".join(QUEUES),
    device: Annotated[str, typer.Option(help="torch device: auto, cpu, cuda, cuda:0 ...")] = "auto",
) -> None:
    """Run a worker: claim shards of these queues and compute on this device."""
    chosen = [q.strip() for q in queues.split(",") if q.strip()]
    unknown = sorted(set(chosen) - set(QUEUES))
    if unknown or not chosen:
        raise typer.BadParameter(f"queues are {', '.join(QUEUES)}; not {', '.join(unknown) or 'none'}")
    os.environ[DEVICE_VARIABLE] = device
    os.environ[QUEUES_VARIABLE] = ",".join(chosen)
    configure(get_settings())
    from orfila_worker.celery_app import app

    app.worker_main(
        [
            "--quiet",
            "worker",
            "--pool=prefork",
            "--concurrency=1",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
            f"--queues={','.join(chosen)}",
            f"--hostname={chosen[0]}-{os.getpid()}@{socket.gethostname()}",
        ]
    )
