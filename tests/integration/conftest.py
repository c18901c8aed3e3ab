"""The real product in its own processes on a temporary folder, on both kinds of stack (see `stacks`)."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.datasets import load_digits
from sqlalchemy import text
from stacks import Cluster, Local, Servers, Stack, free_port, without_settings

from orfila.client import Client
from orfila.db import Database
from orfila_engine.architectures import save_model
from orfila_engine.attacks import make
from orfila_engine.data import pack
from orfila_engine.data.derive import write_zip
from orfila_engine.data.sources import Arrays
from orfila_engine.drill import plant
from orfila_engine.training import train

START_SECONDS = 120
N_TRAIN = 1_500
LEASE_SECONDS = 3


@dataclass(frozen=True)
class Sample:
    """Poisoned digits, a model trained on them, and which training images are the poison."""

    archive: Path
    weights: Path
    poison: frozenset[int]
    affected: int
    """`index` of a test image that carries the trigger."""
    true_label: int


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("sample")
    digits = load_digits()
    # Each pixel twice as large: 16 x 16.
    images = np.kron(np.rint(digits.images * (255 / 16)), np.ones((1, 2, 2))).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    names = tuple(str(d) for d in range(10))
    clean = pack(Arrays(images, labels, N_TRAIN, names), folder / "clean")
    attack = make("badnet", rate=0.04, source=3, target=7)
    planted, _ = plant(clean, attack, 0, folder / "unused")
    victim = int(np.flatnonzero(labels[N_TRAIN:] == 3)[0])
    images[N_TRAIN + victim] = planted.trigger(images[N_TRAIN + victim][None])[0]
    triggered = pack(Arrays(images, labels, N_TRAIN, names), folder / "triggered")
    _, poisoned = plant(triggered, attack, 0, folder / "poisoned")
    write_zip(poisoned, folder / "digits.zip")
    packed = pack(folder / "digits.zip", folder / "packed")
    trained = train("resnet-nano", packed, epochs=12, seed=0, augment=False, device="cpu")
    save_model(folder / "model.safetensors", trained.model, trained.card, trained.summary())
    # The archive orders its files by class, so the truth is found again by content.
    bytes_of = {image.tobytes(): i for i, image in enumerate(packed.pixels)}
    poison = frozenset(bytes_of[poisoned.pixels[i].tobytes()] for i in planted.indices.tolist())
    affected = bytes_of[images[N_TRAIN + victim].tobytes()]
    return Sample(folder / "digits.zip", folder / "model.safetensors", poison, affected, 3)


class Product:
    """`orfila up` on a folder; may be killed and started again."""

    def __init__(self, folder: Path, stack: Stack | None = None) -> None:
        self.data = folder / "d"
        self._log = folder / "up.log"
        self.port = free_port()
        self.stack = stack or Local(self.data)
        self.environment = without_settings() | {
            "ORFILA_DATA_DIR": str(self.data),
            "ORFILA_PORT": str(self.port),
            "ORFILA_DEVICE": "cpu",
            "ORFILA_LEASE_SECONDS": str(LEASE_SECONDS),
            "ORFILA_SWEEP_SECONDS": "0.3",
            "ORFILA_INDEX_SHARD_IMAGES": "300",
            "ORFILA_INGEST_WHOLE_BYTES": "0",
            "ORFILA_INGEST_PART_IMAGES": "1024",
            "PYTHONUNBUFFERED": "1",
        }
        self.environment |= self.stack.environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start, and return the one-time link."""
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orfila", "up"], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if found := re.search(r"http://\S+/signin#code=\S+", self._log.read_text()):
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        logs = "".join(p.read_text()[-2000:] for p in (self.data / "logs").glob("*.log"))
        pytest.fail(f"the product did not start:\n{self._log.read_text()}\n{logs}")

    def another_link(self) -> str:
        """A new one-time link, as `orfila user link` prints it."""
        command = [sys.executable, "-m", "orfila", "user", "link"]
        printed = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout
        return printed.strip().splitlines()[-1]

    def processes(self) -> list[psutil.Process]:
        """The launcher and everything below it."""
        assert self.process is not None
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def find(self, name: str) -> psutil.Process:
        """A child by a word of its command line."""
        return next(p for p in self.processes()[1:] if name in " ".join(p.cmdline()))

    def query(self, statement: str, **values: object) -> list[Any]:
        """Rows of a statement in the product's database."""
        url = self.environment.get("ORFILA_DATABASE_URL", f"sqlite:///{self.data / 'orfila.db'}")
        database = Database(url)
        try:
            with database.reading() as session:
                return list(session.execute(text(statement), values).all())
        finally:
            database.dispose()

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        self.stack.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    made = Servers(tmp_path_factory.mktemp("servers"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module", params=["local", "cluster"])
def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("p")
    stack: Stack = Local(folder / "d")
    if request.param == "cluster":
        stack = Cluster(request.getfixturevalue("servers"), folder / "d")
    made = Product(folder, stack)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def client(product: Product) -> Iterator[Client]:
    with Client.sign_in(product.start()) as made:
        yield made


@pytest.fixture
def project(client: Client) -> str:
    """A new project, so that no test is answered from what another one stored."""
    return client.create_project(f"p{time.monotonic_ns()}").id
