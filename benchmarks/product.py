"""The whole product in its own processes, as `orfila up` starts it, for pieces that measure it from outside."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from orfila.client import Client
from orfila.datasets.schemas import Dataset

_LINK = re.compile(r"http://\S+/signin#code=\S+")


def add_mistaken_model(client: Client, archive: Path, weights: Path) -> tuple[Dataset, str, int]:
    """Upload a data set and its model: the data set, the model's id and the first test image that it gets wrong."""
    dataset = client.add_dataset(client.projects()[0].id, archive)
    model = client.add_model(dataset.project_id, weights, dataset.id).id
    return dataset, model, next(client.misclassified(model)).index


class Product:
    """`orfila up` on a folder, and the most memory that its API has taken."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """settings: more ORFILA_* variables."""
        self._folder, self._settings = folder, dict(settings or {})
        self._most = 0.0
        self._stop = threading.Event()

    def __enter__(self) -> Product:
        self._folder.mkdir(parents=True)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ORFILA_")}
        environment |= {"ORFILA_DATA_DIR": str(self._folder), "ORFILA_PORT": str(port), "PYTHONUNBUFFERED": "1"}
        environment |= self._settings
        self._environment = environment
        log = self._folder.parent / "up.log"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "orfila", "up"]
            self._process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        while not (found := _LINK.search(log.read_text())):
            if self._process.poll() is not None:
                raise RuntimeError(f"the product did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        self.link = found[0]
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._process.terminate()
        self._process.wait(60)

    def another_link(self) -> str:
        """A new one-time sign-in link."""
        command = [sys.executable, "-m", "orfila", "user", "link"]
        printed = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True).stdout
        link = _LINK.search(printed)
        if link is None:
            raise RuntimeError(f"no link was printed: {printed}")
        return link[0]

    def workers(self, queue: str) -> list[psutil.Process]:
        """The worker processes of a queue, in order."""
        children = psutil.Process(self._process.pid).children()
        found = [child for child in children if _command(child)[-4:-2] == ["--queues", queue]]
        return sorted(found, key=lambda child: child.pid)

    def api_megabytes(self) -> float:
        """Megabytes that the API has now."""
        return sum(megabytes(process) for process in self._api())

    def drop_files(self) -> None:
        """Remove every stored file, to make room for the next measurement."""
        for path in (self._folder / "blobs").glob("??/*"):
            path.unlink()

    def kill_api(self) -> None:
        """As a crash would."""
        for process in self._api():
            process.kill()

    def stop_watching(self) -> float:
        """The most megabytes that the API has had."""
        self._stop.set()
        self._watcher.join()
        return self._most

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._most = max([self._most, *(megabytes(process) for process in self._api())])

    def _api(self) -> list[psutil.Process]:
        children = psutil.Process(self._process.pid).children(recursive=True)
        return [child for child in children if "api" in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words


def megabytes(process: psutil.Process) -> float:
    """Resident memory of a process; 0 when it is gone."""
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
