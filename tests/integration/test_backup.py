"""A backup of one machine becomes an installation on PostgreSQL and S3, and goes on there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import Product, Sample
from stacks import Cluster, Servers

from orfila.client import Client

pytestmark = pytest.mark.timeout(240)


def orfila(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orfila", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("product", ["local"], indirect=True, scope="module")
def test_from_one_machine_to_many(
    product: Product, sample: Sample, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("moved")
    target = folder / "saved.tar"
    with Client.sign_in(product.start()) as client:
        project = client.projects()[0].id
        dataset = client.add_dataset(project, sample.archive)
        model = client.add_model(project, sample.weights, dataset.id)
        case = client.open_case(project, model.id, test_index=sample.affected)
        client.judge(case.id, {0: "clean", 1: "poison"})
        saved = orfila(product.environment, "backup", str(target))
        assert saved.returncode == 0, saved.stderr
        assert orfila(product.environment, "backup", str(target)).returncode == 2, "nothing is overwritten"
        refused = orfila(product.environment, "restore", str(target))
        assert refused.returncode == 2
        assert "not empty" in refused.stderr
        flagged, verdicts = client.flagged(case.id), client.verdicts(case.id)
        case = client.case(case.id)
    product.stop()

    moved = Product(folder, Cluster(servers, folder / "d"))
    try:
        restored = orfila(moved.environment, "restore", str(target))
        assert restored.returncode == 0, restored.stderr
        with Client.sign_in(moved.start()) as client:
            assert client.case(case.id) == case
            assert client.flagged(case.id) == flagged
            assert client.verdicts(case.id) == verdicts
            assert client.download_dataset(dataset.id, folder / "again.zip").stat().st_size > 0
            client.judge(case.id, {0: "poison", 2: "clean"})
            assert {v.index: v.verdict for v in client.verdicts(case.id)} == {0: "poison", 1: "poison", 2: "clean"}
            remedy = client.repair(case.id, "influence")
            assert remedy.verification is not None
            assert client._send("GET", "/api/v1/audit/check").json()["ok"]
    finally:
        moved.stop()


def test_what_is_no_backup_is_refused_and_leaves_the_installation_empty(tmp_path: Path) -> None:
    product = Product(tmp_path)
    (tmp_path / "text.tar").write_bytes(b"no tar at all" * 100)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "text.tar", "something")
    for name in ("text.tar", "other.tar"):
        refused = orfila(product.environment, "restore", str(tmp_path / name))
        assert refused.returncode == 2
        assert "no backup" in refused.stderr
    assert product.query("SELECT COUNT(*) FROM projects") == [(0,)]
