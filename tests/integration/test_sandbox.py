"""The process that reads untrusted archives: whatever it is made to try, it ends instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orfila_engine.data import DataError
from orfila_worker.sandbox import pack_untrusted

CANARY = "canary"
ATTEMPTS = {
    "unpickle": "import pickle; pickle.loads(b'cos\\nsystem\\n(S\"touch {canary}\"\\ntR.')",
    "system": "import os; os.system('touch {canary}')",
    "program": "import subprocess; subprocess.run(['touch', '{canary}'])",
    "connect": "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); open('{canary}', 'w')",
    "memory": "b = bytearray(6 * 2**30); open('{canary}', 'w')",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_pictures_do_not_need_is_not_possible(name: str, tmp_path: Path) -> None:
    canary = tmp_path / CANARY
    code = (
        "import sys; from orfila_worker import sandbox; sandbox._limit(); sys.addaudithook(sandbox._watch); "
        + ATTEMPTS[name].format(canary=canary)
    )
    ended = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert not canary.exists()


def test_the_same_attempts_succeed_outside(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    canary = tmp_path / CANARY
    for name in ("unpickle", "system", "program"):
        subprocess.run([sys.executable, "-I", "-c", ATTEMPTS[name].format(canary=canary)], timeout=60, check=True)
        assert canary.exists()
        canary.unlink()


def test_an_archive_is_read_and_a_bad_one_refused_with_the_engine_s_sentence(sample: object, tmp_path: Path) -> None:
    options = {"on_broken": "refuse", "seed": 0, "keep_originals": True, "atlases": True}
    shares: list[float] = []
    pack_untrusted(sample.archive, tmp_path / "pack", options, lambda _, s: shares.append(s))  # type: ignore[attr-defined]
    assert (tmp_path / "pack" / "meta.json").is_file()
    assert shares[-1] == 1.0
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no archive at all")
    with pytest.raises(DataError):
        pack_untrusted(bad, tmp_path / "other", options, lambda _, s: None)
