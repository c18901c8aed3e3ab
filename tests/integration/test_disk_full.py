"""A disk that is full for a while: what needs room is refused with a sentence, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import LEASE_SECONDS, Product, Sample

from orfila.client import ApiError, Client, JobFailed

pytestmark = pytest.mark.timeout(240)
SIZE = 160 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int) -> Path:
    """Leave so many bytes free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while (state := os.statvfs(folder)).f_bavail * state.f_frsize > left:
            file.write(bytes(max(4096, min(2**20, state.f_bavail * state.f_frsize - left))))
    return ballast


def answers_to_verdicts(client: Client, case: str) -> list[ApiError]:
    """What is refused of many verdicts; some of the first may still find room in the database's log."""
    refused = []
    for image in client.flagged(case):
        try:
            client.judge(case, {image: "clean"})
        except ApiError as error:
            refused.append(error)
    return refused


def test_nothing_is_lost_on_a_full_disk(small_disk: Path, sample: Sample) -> None:
    product = Product(small_disk)
    product.environment |= {"ORFILA_MIN_FREE_BYTES": "0"}
    try:
        with Client.sign_in(product.start()) as client:
            project = client.projects()[0].id
            dataset = client.add_dataset(project, sample.archive)
            model = client.add_model(project, sample.weights, dataset.id)
            calm = client.open_case(project, model.id, test_index=sample.affected)
            judged = min(client.flagged(calm.id))
            client.judge(calm.id, {judged: "poison"})

            # No room for a row.
            ballast = fill(small_disk, 0)
            refused = answers_to_verdicts(client, calm.id)
            assert {(error.status, error.code) for error in refused} == {(507, "disk_full")}
            assert client.case(calm.id).result_digest == calm.result_digest, "reading goes on"
            ballast.unlink()
            assert client.judge(calm.id, {judged: "unsure"}).changed == 1

            # Room for rows, but not for the files of a case.
            ballast = fill(small_disk, 600 * 2**10)
            failed = client.open_case(project, model.id, test_index=sample.affected, seed=9, wait=False)
            assert failed.job_id is not None
            time.sleep(LEASE_SECONDS + 2)
            # It fails with a sentence where there is room to write that down, and waits for room where there is none.
            job = client.job(failed.job_id)
            assert job.state in ("failed", "queued", "running"), job
            ballast.unlink()
            try:
                client.wait(failed.job_id)
            except JobFailed:
                told = client.job(failed.job_id).error
                assert told == "A file could not be read or written (No space left on device)."
                client.retry(failed.job_id)
                client.wait(failed.job_id)
            again = client.open_case(project, model.id, test_index=sample.affected)
            assert again.result_digest == calm.result_digest
            assert {v.index: v.verdict for v in client.verdicts(calm.id)}[judged] == "unsure"
    finally:
        product.stop()
