"""Every hostile file is refused with a plain sentence or read without harm, in bounded memory and time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile import CANARY, HARMLESS, HONEST, REFUSED, Maker

SECONDS, MEGABYTES = 60, 1_200
_READ = """
import json, resource, sys
from pathlib import Path
from orfila_engine.data import DataError
from orfila_worker.sandbox import pack_untrusted
options = {"on_broken": "refuse", "seed": 0, "keep_originals": True, "atlases": True}
told = {"sentence": None}
try:
    pack_untrusted(Path(sys.argv[1]), Path(sys.argv[2]), options, lambda doing, share: None)
except DataError as error:
    told["sentence"] = str(error)
told["megabytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps(told))
"""


def read(make: Maker, folder: Path) -> dict[str, Any]:
    """What the sandbox says of a file, and the most memory that it took."""
    hostile = folder / "hostile"
    hostile.mkdir()
    command = [sys.executable, "-c", _READ, str(make(hostile)), str(folder / "pack")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True, cwd=folder)
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["megabytes"] < MEGABYTES
    assert not list(folder.rglob(CANARY)), "a payload ran"
    return told


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_file_is_refused_with_a_plain_sentence(what: str, tmp_path: Path) -> None:
    make, expected = REFUSED[what]
    sentence = read(make, tmp_path)["sentence"]
    assert sentence is not None, "it was read"
    assert re.search(expected, sentence), sentence
    assert "Traceback" not in sentence
    assert "\n" not in sentence.strip()
    assert str(tmp_path) not in sentence, "no path of the server"
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize("what", HARMLESS)
def test_an_odd_file_is_read_without_harm(what: str, tmp_path: Path) -> None:
    assert read(HARMLESS[what], tmp_path)["sentence"] is None
    meta = json.loads((tmp_path / "pack" / "meta.json").read_text())
    assert meta["n_train"] + meta["n_test"] >= len(HONEST)
    assert {"ox", "cow"} <= set(meta["classes"])
