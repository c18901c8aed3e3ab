"""A report as PDF, printed by Chromium, where the machine has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from orfila.errors import Conflict

SECONDS = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
)


def as_pdf(page: str) -> bytes:
    """The page on paper. Raises Conflict where there is no Chromium, or it does not print."""
    browser = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if browser is None:
        raise Conflict(
            "There is no Chromium on the server to print with; open the HTML report and print it from your browser.",
            code="no_printer",
        )
    with tempfile.TemporaryDirectory(prefix="orfila-print-") as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(page, encoding="utf-8")
        # Its sandbox does not start for root, as whom containers often run. The page is ours and has no script.
        alone = ("--no-sandbox",) if os.geteuid() == 0 else ()
        command = [browser, *_FLAGS, *alone, f"--user-data-dir={folder}/profile", f"--print-to-pdf={target}"]
        try:
            # Our own words and files of ours; nothing that a user wrote is among them.
            subprocess.run([*command, source.as_uri()], capture_output=True, timeout=SECONDS, check=True)  # noqa: S603
            return target.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise Conflict(
                "Chromium did not print the report; open the HTML report and print it from your browser.",
                code="not_printed",
            ) from error
