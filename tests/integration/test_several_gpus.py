"""`orfila up` with several devices: a training worker for each, behind the people who wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import Product

from orfila.client import Client
from orfila.launcher import BACKGROUND_NICENESS


@pytest.fixture
def two_devices(tmp_path: Path) -> Iterator[Product]:
    made = Product(tmp_path)
    made.environment |= {"ORFILA_GPU_DEVICES": '["cpu", "cpu"]', "ORFILA_GPU_THREADS": "1"}
    try:
        yield made
    finally:
        made.stop()


def test_each_device_has_a_training_worker_that_steps_back_for_people(two_devices: Product) -> None:
    with Client.sign_in(two_devices.start()) as client:
        workers = [(w.queues, w.device) for w in client.workers()]
    assert sorted(workers) == [(["cpu", "ingest"], "cpu"), (["gpu"], "cpu"), (["gpu"], "cpu"), (["interactive"], "cpu")]

    def started(queues: str) -> list[psutil.Process]:
        command = f"worker --queues {queues} "
        return [p for p in two_devices.processes()[1:] if command in " ".join(p.cmdline())]

    own = psutil.Process().nice()
    training, interactive = started("gpu"), started("interactive")
    assert len(training) >= 2
    assert {p.nice() for p in training} == {min(19, own + BACKGROUND_NICENESS)}
    assert {p.nice() for p in interactive} == {own}
    assert {p.environ()["OMP_NUM_THREADS"] for p in training} == {"1"}
