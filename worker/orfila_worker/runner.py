"""Claim, run, commit: how a worker process works off a queue."""

from __future__ import annotations

import os
import shutil
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import torch
from sqlalchemy import select

from orfila.db import Database
from orfila.jobs import leases, lifecycle
from orfila.jobs.dispatch import Doorbell, ring_after_commits
from orfila.jobs.leases import Claim, LostLease
from orfila.jobs.models import Job, Shard
from orfila.jobs.service import log
from orfila.logs import bound
from orfila.settings import Settings
from orfila.storage import BlobStore, get_store
from orfila_engine.devices import select_device
from orfila_worker.heartbeat import Cancelled, Heartbeat
from orfila_worker.precedence import Precedence
from orfila_worker.presence import Presence
from orfila_worker.tasks import TASKS  # here: importing them after a claim would cost its lease
from orfila_worker.warm import Warm

_log = structlog.get_logger("orfila.worker")
_UNEXPECTED = "Something went wrong in the worker; the log of this job has the details. Run it again, or report it."


@dataclass(frozen=True)
class Work:
    """What a task is given: one shard of one job."""

    kind: str
    job_id: str
    stage: int
    spec: dict[str, Any]
    payload: dict[str, Any]
    earlier: list[dict[str, Any]]
    """Results of the stage before, by shard number."""
    half_batch: bool
    device: str
    folder: Path
    """A folder of this shard, kept between attempts: checkpoints live here."""
    store: BlobStore
    database: Database
    settings: Settings
    warm: Warm
    progress: Heartbeat
    discard: list[str] = field(default_factory=list)
    """Blobs of the stage before that nobody needs once this shard is committed."""


class Runner:
    """One worker process: its database, store, device and warm cache."""

    def __init__(self, settings: Settings, device: str) -> None:
        self._settings = settings
        self._device = str(select_device(device))
        self._database = Database(settings.resolved_database_url)
        self._store = get_store(settings)
        self._warm = Warm(self._store, self._device, settings.data_dir.resolve() / "work")
        self._precedence = Precedence(settings.data_dir.resolve() / "work")
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        ring_after_commits(self._database, Doorbell(settings))

    def be_present(self, queues: list[str]) -> Presence:
        """Say that this worker is there, until the answer is stopped."""
        return Presence(self._database, self._name, queues, self._device)

    def drain(self, queue: str) -> None:
        """Run shards of a queue until none is due."""
        while (claim := self._claim(queue)) is not None:
            with bound(job=claim.job_id, shard=claim.shard_id, attempt=claim.attempts):
                if queue == "interactive":
                    with self._precedence.take():
                        self._run(claim)
                else:
                    # A GPU of its own is not in anybody's way.
                    self._run(claim, self._precedence.give_way if self._device == "cpu" else None)

    def _claim(self, queue: str) -> Claim | None:
        with self._database.transaction() as session:
            return leases.claim(session, [queue], self._name, self._settings.lease_seconds)

    def _run(self, claim: Claim, pause: Callable[[], None] | None = None) -> None:
        with self._database.reading() as session:
            job, shard = session.get_one(Job, claim.job_id), session.get_one(Shard, claim.shard_id)
            before = select(Shard).where(Shard.job_id == job.id, Shard.stage == shard.stage - 1).order_by(Shard.number)
            earlier = [s.result or {} for s in session.scalars(before)]
        folder = self._settings.data_dir / "work" / claim.shard_id
        folder.mkdir(parents=True, exist_ok=True)
        _log.info("shard claimed", kind=job.kind, stage=shard.stage, number=shard.number)
        try:
            with Heartbeat(self._database, self._settings, claim, pause) as heartbeat:
                work = Work(
                    kind=job.kind,
                    job_id=job.id,
                    stage=shard.stage,
                    spec=job.spec,
                    payload=shard.payload,
                    earlier=earlier,
                    half_batch=shard.half_batch,
                    device=self._device,
                    folder=folder,
                    store=self._store,
                    database=self._database,
                    settings=self._settings,
                    warm=self._warm,
                    progress=heartbeat,
                )
                result = TASKS[job.kind](work)
                heartbeat.check()
            with self._database.transaction() as session:
                lifecycle.finish(session, self._store, claim, result.model_dump(mode="json"))
            for sha256 in work.discard:
                self._store.delete(sha256)
            shutil.rmtree(folder, ignore_errors=True)
            _log.info("shard committed")
        except LostLease:
            _log.warning("lost the lease; nothing was committed")
        except Cancelled:
            self._end(claim, lambda session: lifecycle.acknowledge_cancel(session, claim))
            shutil.rmtree(folder, ignore_errors=True)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            sentence = "The device ran out of memory; the batch is halved once, then a larger device is needed."
            self._failed(claim, sentence, retry=not shard.half_batch, half_batch=True)
        except ValueError as error:
            # The engine's way of telling a person what is wrong with what was given: trying again cannot help.
            self._failed(claim, _sentence(error), retry=False)
        except OSError as error:
            self._failed(claim, f"A file could not be read or written ({error.strerror or error}).", retry=True)
        except Exception:
            self._log_traceback(claim)
            self._failed(claim, _UNEXPECTED, retry=True)

    def _failed(self, claim: Claim, sentence: str, *, retry: bool, half_batch: bool = False) -> None:
        _log.warning("shard failed", reason=sentence, retry=retry)
        limit = self._settings.max_attempts
        self._end(
            claim,
            lambda session: lifecycle.fail(
                session, claim, sentence, retry=retry, max_attempts=limit, half_batch=half_batch
            ),
        )

    def _end(self, claim: Claim, step: Any) -> None:
        try:
            with self._database.transaction() as session:
                step(session)
        except LostLease:
            _log.warning("lost the lease; nothing was committed")

    def _log_traceback(self, claim: Claim) -> None:
        text = traceback.format_exc()
        _log.error("task failed", traceback=text)
        with self._database.transaction() as session:
            log(session, claim.job_id, "error", text)


def _sentence(error: ValueError) -> str:
    text = str(error).strip() or _UNEXPECTED
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


_runner: Runner | None = None


def start_runner(settings: Settings, device: str) -> Runner:
    """Make this process's runner. Called once in each prefork child."""
    global _runner
    _runner = Runner(settings, device)
    return _runner


def current_runner() -> Runner:
    """This process's runner."""
    assert _runner is not None, "start_runner was not called in this process"
    return _runner
