"""docker-compose.yml and the Dockerfiles name things that exist: commands, settings, queues, files, secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from orfila.cli import app
from orfila.settings import Settings
from orfila_worker.cli import QUEUES

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {n: s for n, s in COMPOSE["services"].items() if "build" in s}
NOT_SETTINGS = {
    "ORFILA_ENV_FILE",
    "ORFILA_READY_FILE",
    "ORFILA_DATA_DIR",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_DEFAULT_REGION",
}


def test_every_part_is_there() -> None:
    assert set(OURS) == {"migrate", "api", "sweeper", "worker-cpu", "worker-gpu"}
    assert set(COMPOSE["services"]) - set(OURS) == {"postgres", "valkey", "seaweedfs"}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_of_ours_with_settings_of_ours(name: str) -> None:
    service = OURS[name]
    group = typer.main.get_command(app)
    assert service["command"][0] in group.list_commands(None)  # type: ignore[attr-defined, arg-type]
    fields = {f"ORFILA_{field.upper()}" for field in Settings.model_fields}
    assert set(service["environment"]) - NOT_SETTINGS <= fields
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    for secret in service["secrets"]:
        assert secret in COMPOSE["secrets"]


@pytest.mark.parametrize("name", ["worker-cpu", "worker-gpu"])
def test_workers_serve_queues_that_exist(name: str) -> None:
    queues = OURS[name]["command"][2]
    default = re.sub(r"\$\{\w+:-(.*)\}", r"\1", queues)
    assert set(default.split(",")) <= set(QUEUES)


def test_every_secret_that_is_mounted_is_made_by_the_commands_at_the_top() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    told = set(re.findall(r"> secrets/([\w.]+)", text))
    assert told == set(COMPOSE["secrets"])
    used = {s for service in COMPOSE["services"].values() for s in service.get("secrets", [])}
    assert used == told


def _compose() -> list[str]:
    """The command of version 2: Docker's plugin, or the binary that .ci/compose brings."""
    for command in ([str(Path(sys.executable).with_name("docker-compose"))], ["docker", "compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            if version.returncode == 0 and int(version.stdout.lstrip("v").split(".")[0]) >= 2:
                return command
    pytest.skip("docker compose (version 2) is not installed")


def _read(file: Path, profile: str) -> subprocess.CompletedProcess[str]:
    command = [*_compose(), "--project-directory", str(ROOT), "-f", str(file), "config", "--format", "json"]
    environment = {**os.environ, "COMPOSE_PROFILES": profile}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("profile", ["", "gpu"])
def test_compose_reads_the_file(profile: str) -> None:
    run = _read(ROOT / "docker-compose.yml", profile)
    assert run.returncode == 0, run.stderr
    assert not run.stderr  # no variable without a value, no key of an old version
    services = json.loads(run.stdout)["services"]
    assert ("worker-gpu" in services) == (profile == "gpu")
    assert set(services) - {"worker-gpu"} == set(COMPOSE["services"]) - {"worker-gpu"}
    # Merged as meant: the sweeper's own setting beside those that all share.
    assert {"ORFILA_READY_FILE", "ORFILA_STORAGE_URL"} <= set(services["sweeper"]["environment"])
    assert all(services[name]["cap_drop"] == ["ALL"] for name in OURS if name in services)


def test_compose_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "docker-compose.yml"
    file.write_text((ROOT / "docker-compose.yml").read_text().replace("healthcheck:", "healthchek:", 1))
    run = _read(file, "")
    assert run.returncode != 0
    assert "healthchek" in run.stderr


@pytest.mark.parametrize("path", ["backend/Dockerfile", "worker/Dockerfile"])
def test_an_image_copies_files_that_exist_and_runs_as_nobody_special(path: str) -> None:
    text = (ROOT / path).read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    assert re.search(r"^USER orfila$", text, re.MULTILINE)
    assert "[worker" not in text if path.startswith("backend") else "[worker" in text
