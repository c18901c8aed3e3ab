"""The product under kills, stalls and cut connections: what is asked of it, what is done to it, and what must be true.

Its processes run side by side as on many machines: an API, a sweeper, several workers, each started again at once when
it dies. A person uploads files and judges images meanwhile, with a seeded sequence of accidents all the while.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import psutil
from sklearn.datasets import load_digits
from sqlalchemy import text
from stacks import Servers, Valkey, free_port, without_settings

from orfila.client import ApiError, Client
from orfila.db import Database
from orfila.identity.service import ensure_local_administrator, sign_in_link
from orfila.migrations import migrate
from orfila.settings import Settings
from orfila_engine.architectures import save_model
from orfila_engine.data import pack
from orfila_engine.training import train

LEASE_SECONDS = 3.0
STALL_SECONDS = LEASE_SECONDS + 2.0
SHARD_IMAGES = 400
N_KNOWN = 1_500
"""Digits of scikit-learn that are for training; the others are the test split."""
_OVER = {"succeeded", "failed", "cancelled"}
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Plan:
    """How much of everything; accidents are drawn in this proportion, in an order that the seed decides."""

    n_shards: int
    n_workers: int
    worker_kills: int
    worker_stalls: int
    broker_kills: int
    flushes: int
    api_kills: int
    cut_connections: int
    pause_seconds: float
    seed: int = 0

    def accidents(self, rng: random.Random, with_postgres: bool) -> list[str]:
        """Their names, in order."""
        named = {
            "worker killed": self.worker_kills,
            "worker stalled": self.worker_stalls,
            "broker killed": self.broker_kills,
            "broker emptied": self.flushes,
            "API killed": self.api_kills,
            "connections cut": self.cut_connections if with_postgres else 0,
        }
        found = [name for name, times in named.items() for _ in range(times)]
        rng.shuffle(found)
        return found


SHORT = Plan(
    n_shards=20, n_workers=2, worker_kills=3, worker_stalls=2, broker_kills=1, flushes=1, api_kills=1,
    cut_connections=1, pause_seconds=1.2,
)  # fmt: skip
LONG = Plan(
    n_shards=200, n_workers=4, worker_kills=30, worker_stalls=10, broker_kills=5, flushes=3, api_kills=5,
    cut_connections=5, pause_seconds=4.0,
)  # fmt: skip


@dataclass
class Report:
    """What happened, and what was found afterwards."""

    stack: str
    accidents: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    jobs: int = 0
    lost_leases: int = 0
    most_attempts: int = 0
    verdicts: int = 0
    uploads: int = 0
    wrong: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str]]:
        """A table of it."""
        accidents = ", ".join(f"{name} {times} times" for name, times in sorted(self.accidents.items()))
        return [
            ("stack", self.stack),
            ("done to it", accidents),
            ("jobs, all ended once", str(self.jobs)),
            ("leases lost, most attempts of a shard", f"{self.lost_leases}, {self.most_attempts}"),
            ("verdicts acknowledged, all there", str(self.verdicts)),
            ("uploads acknowledged, all there", str(self.uploads)),
            ("seconds", f"{self.seconds:.0f}"),
            ("wrong", "; ".join(self.wrong) or "nothing"),
        ]


class Installation:
    """The product's processes on one stack, each started again when it dies."""

    def __init__(self, folder: Path, n_workers: int, servers: Servers | None) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.broker = Valkey(folder / "valkey")
        self.servers = servers
        self.port = free_port()
        self.environment = without_settings() | {
            "ORFILA_DATA_DIR": str(self.data),
            "ORFILA_PORT": str(self.port),
            "ORFILA_DEVICE": "cpu",
            "ORFILA_BROKER_URL": self.broker.url,
            "ORFILA_LEASE_SECONDS": str(LEASE_SECONDS),
            "ORFILA_SWEEP_SECONDS": "0.3",
            "ORFILA_INDEX_SHARD_IMAGES": str(SHARD_IMAGES),
            # Chaos hits one shard often; how often a shard may fail is not what is tested here.
            "ORFILA_MAX_ATTEMPTS": "50",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        if servers is not None:
            self.environment |= servers.seaweed.settings(folder.name)
            self.environment["ORFILA_DATABASE_URL"] = servers.postgres.database()
        self.url = self.environment.get("ORFILA_DATABASE_URL", f"sqlite:///{self.data / 'orfila.db'}")
        migrate(self.url)
        self.database = Database(self.url)
        self._commands = {"api": ["api"], "sweeper": ["sweeper"], "rest": ["worker", "--queues=interactive,cpu,ingest"]}
        self._commands |= {f"gpu-{n}": ["worker", "--queues=gpu", "--device=cpu"] for n in range(n_workers)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        for name in self._commands:
            self._start(name)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def name(self) -> str:
        return "SQLite, Valkey, local files" if self.servers is None else "PostgreSQL, Valkey, S3"

    def link(self) -> str:
        """Signs the administrator in, once the API and every worker answer."""
        deadline = time.monotonic() + 120
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.port}/ready").is_success:
                    break
            assert time.monotonic() < deadline, "the installation did not start"
            time.sleep(0.2)
        settings = Settings(data_dir=self.data, port=self.port)
        with self.database.transaction() as session:
            ensure_local_administrator(session)
            return sign_in_link(session, settings)

    def strike(self, accident: str, rng: random.Random) -> None:
        """Do one thing to it."""
        if accident == "worker killed":
            self._worker(rng).kill()
        elif accident == "worker stalled":
            stalled = self._worker(rng)
            stalled.suspend()
            threading.Timer(STALL_SECONDS, _resume, (stalled,)).start()
        elif accident == "broker killed":
            self.broker.kill()
            time.sleep(0.5)
            self.broker.start()
        elif accident == "broker emptied":
            self.broker.client().flushall()
        elif accident == "API killed":
            self._processes["api"].kill()
        elif accident == "connections cut":
            assert self.servers is not None
            self.servers.postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        else:
            raise AssertionError(accident)

    def query(self, statement: str) -> list[Any]:
        """Rows of the database."""
        with self.database.reading() as session:
            return list(session.execute(text(statement)).all())

    def stop(self) -> None:
        """SIGKILL all of it."""
        self._stop.set()
        self._keeper.join()
        for process in self._processes.values():
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.kill()
            process.wait()
        self.broker.kill()
        self.database.dispose()

    def _worker(self, rng: random.Random) -> psutil.Process:
        """A worker process in the middle of a shard, where there is one; else any, perhaps just being started."""
        busy = self.query("SELECT DISTINCT worker FROM shards WHERE state = 'running' AND worker IS NOT NULL")
        with suppress(psutil.NoSuchProcess):
            if busy:
                return psutil.Process(int(rng.choice(sorted(row.worker for row in busy)).rpartition(":")[2]))
        name = rng.choice(sorted(n for n in self._processes if n not in ("api", "sweeper")))
        parent = psutil.Process(self._processes[name].pid)
        with suppress(psutil.NoSuchProcess):
            children = parent.children()
            if children:
                return children[0]
        return parent

    def _start(self, name: str) -> None:
        with (self.data / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "orfila", *self._commands[name]],
                env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _keep(self) -> None:
        while not self._stop.wait(0.1):
            for name, process in list(self._processes.items()):
                if process.poll() is not None:
                    self._start(name)


def _resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()


class Person:
    """Uploads and judges, and keeps a book of what was acknowledged."""

    def __init__(self, address: str, token: str, project: str, case: str, archive: Path) -> None:
        self._address, self._token = address, token
        self.project, self._case, self._archive = project, case, archive
        self.verdicts: dict[int, str] = {}
        self.uploads: dict[str, str] = {}
        self.jobs: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._judge, self._upload)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _judge(self) -> None:
        number = 0
        with Client(self._address, self._token, timeout=20) as client:
            while not self._stop.wait(0.05):
                index, verdict = number % 1000, ("poison", "clean", "unsure")[number % 3]
                patiently(lambda i=index, v=verdict: client.judge(self._case, {i: v}))  # type: ignore[misc]
                self.verdicts[index] = verdict
                number += 1

    def _upload(self) -> None:
        number = 0
        with Client(self._address, self._token, timeout=20) as client:
            while not self._stop.wait(2.0):
                path = self._archive.with_name(f"copy-{number}.npz")
                path.write_bytes(self._archive.read_bytes() + number.to_bytes(8, "big"))
                upload = patiently(lambda p=path: client.upload(self.project, p, "dataset"))  # type: ignore[misc]
                self.uploads[upload.id] = upload.sha256 or ""
                number += 1


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask again while the server is away, as any client of a service does."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return ask()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        except ApiError as error:
            if error.status < 500 or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def make_files(folder: Path, n_train: int) -> tuple[Path, Path, Path]:
    """Digits, many times over with a little noise, as NPZ; a model trained on the first of them; a small file."""
    digits, rng = load_digits(), np.random.default_rng(0)
    large = np.kron(np.rint(digits.images * (255 / 16)), np.ones((1, 4, 4))).astype(np.int16)
    rows = rng.integers(N_KNOWN, size=n_train)
    test = {"x_test": large[N_KNOWN:].astype(np.uint8), "y_test": digits.target[N_KNOWN:]}

    def save(name: str, images: Any, labels: Any) -> Path:
        names = np.array([str(d) for d in range(10)])
        np.savez(folder / name, x_train=images.astype(np.uint8), y_train=labels, classes=names, **test)
        return folder / name

    noisy = np.clip(large[rows] + rng.integers(-8, 9, size=(n_train, 32, 32)), 0, 255)
    archive = save("digits.npz", noisy, digits.target[rows])
    small = save("small.npz", large[:N_KNOWN], digits.target[:N_KNOWN])
    weights = folder / "model.safetensors"
    trained = train("resnet20-cifar", pack(small, folder / "pack"), epochs=1, seed=0, augment=False, device="cpu")
    save_model(weights, trained.model, trained.card, trained.summary())
    return archive, weights, small


def run(plan: Plan, folder: Path, servers: Servers | None, say: Callable[[str], None] = lambda line: None) -> Report:
    """A calm run, then the same under accidents; what is different or missing stands in `Report.wrong`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = make_files(folder, plan.n_shards * SHARD_IMAGES)
    installation = Installation(folder / f"on-{'pg' if servers else 'sqlite'}", plan.n_workers, servers)
    try:
        return _run(plan, installation, files, say)
    finally:
        installation.stop()


def _run(plan: Plan, installation: Installation, files: tuple[Path, Path, Path], say: Callable[[str], None]) -> Report:
    archive, weights, small = files
    report, rng = Report(installation.name), random.Random(plan.seed)
    address = f"http://127.0.0.1:{installation.port}"
    with Client.sign_in(installation.link()) as client:
        token = client.create_token("chaos").secret

        def begin(project: str) -> tuple[str, str]:
            dataset = client.add_dataset(project, archive)
            model = client.add_model(project, weights, dataset.id)
            wrong = next(client.misclassified(model.id)).index
            body = {"name": "c", "model_id": model.id, "affected": [{"test_index": wrong}]}
            case = client._send("POST", f"/api/v1/projects/{project}/cases", json=body).json()
            return case["id"], case["job_id"]

        calm_case, calm_job = begin(client.create_project("calm").id)
        client.wait(calm_job, timeout=900)
        say("the calm run has ended")
        project = client.create_project("chaos").id
        person = Person(address, token, project, calm_case, small)
        began = time.monotonic()
        case, job = begin(project)
        person.start()
        for accident in plan.accidents(rng, installation.servers is not None):
            time.sleep(plan.pause_seconds * rng.uniform(0.5, 1.5))
            with suppress(psutil.NoSuchProcess):
                installation.strike(accident, rng)
                report.accidents[accident] += 1
        time.sleep(STALL_SECONDS)
        person.stop()
        say("the accidents are over")
        deadline = time.monotonic() + 900
        while patiently(lambda: client.job(job)).state not in _OVER:
            assert time.monotonic() < deadline, "a job does not end"
            time.sleep(0.3)
        report.seconds = time.monotonic() - began
        _examine(report, installation, client, person, (calm_case, case))
    return report


def _examine(
    report: Report, installation: Installation, client: Client, person: Person, cases: tuple[str, str]
) -> None:
    jobs = installation.query("SELECT id, kind, state, leases_lost FROM jobs")
    report.jobs, report.lost_leases = len(jobs), sum(job.leases_lost for job in jobs)
    report.wrong += [f"the {job.kind} has {job.state}" for job in jobs if job.state != "succeeded"]
    shards = installation.query("SELECT job_id, stage, number, state, attempts, result FROM shards")
    report.most_attempts = max(shard.attempts for shard in shards)
    report.wrong += [f"shard {s.number} of {s.job_id} is {s.state}" for s in shards if s.state != "succeeded"]
    report.wrong += [f"shard {s.number} of {s.job_id} has no result" for s in shards if s.result is None]
    ended = Counter(row.job_id for row in installation.query("SELECT job_id FROM job_logs WHERE message = 'succeeded'"))
    report.wrong += [f"the {job.kind} {job.id} ended {ended[job.id]} times" for job in jobs if ended[job.id] != 1]

    indexes = installation.query("SELECT files FROM indexes ORDER BY created_at")
    calm, under = (f if isinstance(f, dict) else json.loads(f) for (f,) in indexes)
    kept = [name for name in calm if name.startswith(("gradients", "scales", "self_influence", "whitening"))]
    report.wrong += [f"{name} differs from the calm run" for name in kept if calm[name] != under.get(name)]
    if client.flagged(cases[0]) != client.flagged(cases[1]):
        report.wrong.append("other images are flagged than in the calm run")

    judged = {v.index: v.verdict for v in client.verdicts(cases[0])}
    report.verdicts = len(person.verdicts)
    lost = [index for index, verdict in person.verdicts.items() if judged.get(index) != verdict]
    # The last one may have been sent and not yet acknowledged when the person stopped.
    report.wrong += [f"verdicts on {lost[:5]} are lost"] if lost else []
    twice = installation.query(
        "SELECT case_id FROM verdicts WHERE current GROUP BY case_id, image_index HAVING COUNT(*) > 1"
    )
    report.wrong += [f"{len(twice)} images have two verdicts of one person"] if twice else []

    stored = {upload.id: upload for upload in client.uploads(person.project)}
    report.uploads = len(person.uploads)
    for upload_id, sha256 in person.uploads.items():
        if upload_id not in stored or stored[upload_id].sha256 != sha256:
            report.wrong.append(f"upload {upload_id} is lost")
    if not client._send("GET", "/api/v1/audit/check").json()["ok"]:
        report.wrong.append("the audit chain is broken")
