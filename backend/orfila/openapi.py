"""Prints the OpenAPI document of the real application: `python -m orfila.openapi > backend/openapi.json`."""

import json
import sys
import tempfile
from pathlib import Path

from orfila.app import create_app
from orfila.settings import Settings


def document() -> str:
    """The document as it is committed: from it the browser's client is generated."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder)))
        return json.dumps(app.openapi(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
