"""The example of docs/api.md, run as it stands against the real product."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Product, Sample

from orfila.client import Client

pytestmark = pytest.mark.timeout(240)

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Product, str]]:
    """The product, and a token for it."""
    made = Product(tmp_path)
    try:
        with Client.sign_in(made.start()) as client:
            yield made, client.create_token("example").secret
    finally:
        made.stop()


def test_the_example_runs_from_a_case_to_a_check_for_ci(
    running: tuple[Product, str], sample: Sample, tmp_path: Path
) -> None:
    product, token = running
    example = re.search(r"```python\n(.*?)```", PAGE.read_text().partition("## Python")[2], re.DOTALL)
    assert example is not None
    folder = tmp_path / "example"
    folder.mkdir()
    shutil.copyfile(sample.archive, folder / "pictures.zip")
    shutil.copyfile(sample.weights, folder / "model.safetensors")
    environment = os.environ | {"ORFILA_ADDRESS": f"http://127.0.0.1:{product.port}", "ORFILA_TOKEN": token}
    ran = subprocess.run(
        [sys.executable, "-c", example[1]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"
    said = ran.stdout.splitlines()
    assert "training images" in said[0]
    assert "flagged images are judged" in said[1]
    assert "affected image is healed" in said[2]
    assert "10 classes" in said[3]
    with zipfile.ZipFile(folder / "cleansed.zip") as cleansed, zipfile.ZipFile(folder / "pictures.zip") as given:
        assert 0 < len(cleansed.namelist()) < len(given.namelist())
