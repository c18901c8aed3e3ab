"""The short form of `make chaos`, on both stacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from stacks import Servers

from chaos import SHORT, run


@pytest.mark.timeout(400)
@pytest.mark.parametrize("stack", ["local", "cluster"])
def test_nothing_is_lost_and_nothing_is_done_twice(stack: str, tmp_path: Path) -> None:
    servers = Servers(tmp_path / "servers") if stack == "cluster" else None
    try:
        report = run(SHORT, tmp_path / "run", servers)
    finally:
        if servers is not None:
            servers.stop()
    assert report.wrong == []
    wanted = SHORT.worker_kills + SHORT.worker_stalls + SHORT.broker_kills + SHORT.flushes + SHORT.api_kills
    assert sum(report.accidents.values()) == wanted + (SHORT.cut_connections if servers is not None else 0)
    assert report.lost_leases > 0, "no accident hit a worker at work: it proves little"
    assert report.verdicts > 20
    assert report.uploads > 1
