"""The long form: `make chaos`. Prints a table for each stack, and ends with 1 if anything is wrong."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from stacks import Servers  # noqa: E402

from chaos import LONG, Report, run  # noqa: E402


def main() -> int:
    """Both stacks, or those named on the command line (local, cluster)."""
    wrong = 0
    for stack in sys.argv[1:] or ("local", "cluster"):
        with tempfile.TemporaryDirectory(prefix="orfila-chaos-") as folder:
            servers = Servers(Path(folder) / "servers") if stack == "cluster" else None
            try:
                report = run(LONG, Path(folder) / "run", servers, say=lambda line: print(line, flush=True))
            finally:
                if servers is not None:
                    servers.stop()
        _print(report)
        wrong += len(report.wrong)
    return min(wrong, 1)


def _print(report: Report) -> None:
    rows = report.rows()
    width = max(len(what) for what, _ in rows)
    print("\n".join(f"{what:<{width}}  {found}" for what, found in rows), flush=True)


if __name__ == "__main__":
    sys.exit(main())
