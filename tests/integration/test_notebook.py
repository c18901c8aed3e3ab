"""The notebook of the documentation, run cell by cell in a kernel of its own against the real product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from conftest import Product, Sample
from nbclient import NotebookClient

from orfila.client import Client

pytestmark = pytest.mark.timeout(240)
NOTEBOOK = Path(__file__).parents[2] / "docs" / "examples" / "investigate.ipynb"


@pytest.fixture
def environment(tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The product with a case that is scored, and where the notebook looks for it."""
    made = Product(tmp_path)
    try:
        with Client.sign_in(made.start()) as client:
            project = client.projects()[0].id
            dataset = client.add_dataset(project, sample.archive)
            model = client.add_model(project, sample.weights, dataset.id)
            client.open_case(project, model.id, test_index=next(client.misclassified(model.id)).index)
            monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
            monkeypatch.setenv("ORFILA_ADDRESS", f"http://127.0.0.1:{made.port}")
            monkeypatch.setenv("ORFILA_TOKEN", client.create_token("notebook").secret)
            yield
    finally:
        made.stop()


@pytest.mark.usefixtures("environment")
def test_the_notebook_runs_and_shows_what_it_says() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    assert "training images are flagged" in printed
    assert "precision" in printed
    assert "margin" in printed
    shown = [set(output["data"]) for output in outputs if "data" in output]
    assert sum("image/png" in kinds for kinds in shown) == 2, "two sheets of pictures"
    assert any("application/vnd.plotly.v1+json" in kinds for kinds in shown), "the histogram"
