"""The README's commands run as they stand there, on real pictures."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orfila_engine.data import pack
from orfila_engine.data.derive import write_zip
from orfila_engine.sample import digits

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(section: str) -> list[str]:
    """The `orfila …` lines of a section's code block, without their comments."""
    block = re.search(rf"## {section}\n.*?```bash\n(.*?)```", README, re.DOTALL)
    assert block is not None, f"the README has no commands under '{section}'"
    return [line.partition("#")[0].strip() for line in block[1].splitlines() if line.startswith("orfila ")]


def run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "orfila"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ORFILA_DATA_DIR": str(cwd / "data")}
    return subprocess.run(
        [sys.executable, "-m", "orfila", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_commands_without_a_server_run_one_after_the_other(tmp_path: Path) -> None:
    write_zip(pack(digits(), tmp_path / "pack"), tmp_path / "pictures.zip")
    for command in commands("Without a server"):
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    with (tmp_path / "case" / "flagged.csv").open() as file:
        flagged = {int(row["index"]) for row in csv.DictReader(file)}
    with (tmp_path / "drill" / "truth.csv").open() as file:
        truth = {int(row["index"]) for row in csv.DictReader(file)}
    assert len(flagged & truth) / len(flagged) >= 0.9
    assert len(flagged & truth) / len(truth) >= 0.9
    for name in ("scores.parquet", "summary.json", "report.html"):
        assert (tmp_path / "case" / name).stat().st_size > 0
    proof = json.loads((tmp_path / "fixed.verification.json").read_text())
    assert proof["affected"][0]["healed"]
    assert (tmp_path / "retrained.safetensors").is_file()
    swept = json.loads((tmp_path / "swept" / "sweep.json").read_text())["classes"]
    target = json.loads((tmp_path / "case" / "summary.json").read_text())["predicted"]
    assert min(swept, key=lambda c: (c["evidence"]["p_value"], -c["evidence"]["statistic"]))["label"] == target
    assert {c["label"] for c in swept if c["accused"]} <= {target}
    rows = {r["detector"]: r for r in json.loads((tmp_path / "compared" / "comparison.json").read_text())["rows"]}
    assert min(rows["collapse"]["label"][k] for k in ("precision", "recall")) >= 0.9


@pytest.mark.parametrize("command", [c for c in commands("Running it") if not c.startswith("orfila up")])
def test_commands_for_running_it_run(command: str, tmp_path: Path) -> None:
    assert run("orfila migrate", tmp_path).returncode == 0
    done = run(command, tmp_path)
    # `doctor` says 1 where something is missing; it must say what.
    assert done.returncode in ((0, 1) if "doctor" in command else (0,)), done.stderr
    assert done.stdout.strip()


def test_up_takes_the_options_that_the_readme_gives(tmp_path: Path) -> None:
    (command,) = [c for c in commands("Running it") if c.startswith("orfila up")]
    assert run(f"{command} --help", tmp_path).returncode == 0
