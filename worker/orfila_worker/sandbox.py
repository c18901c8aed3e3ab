"""Run a function of `orfila_engine.data` on an untrusted archive in a process of its own.

The child has limits on memory, processor time and file size, no torch, and an audit hook that ends it when anything
tries to unpickle, start a program or open a connection. It reports progress and its answer over a pipe as JSON lines.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from orfila_engine.data import DataError
from orfila_engine.progress import Progress

MEMORY_BYTES = 4 * 2**30
CPU_SECONDS = 4 * 3600
FILE_BYTES = 512 * 2**30
FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
)


def pack_untrusted(
    archive: Path, out_dir: Path, options: dict[str, Any], progress: Progress, *, labels: str | None = None
) -> float:
    """Pack an archive in the sandbox; returns the seconds it took. labels: of CIFAR-100, see `open_source`.

    Raises DataError with the engine's sentence, or one that says that the sandbox ended the child.
    """
    request = {"archive": str(archive), "out_dir": str(out_dir), "options": options, "labels": labels}
    child = subprocess.Popen(
        [sys.executable, "-I", "-m", "orfila_worker.sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request))
        child.stdin.close()
        for line in child.stdout:
            message = json.loads(line)
            if "share" in message:
                progress(message["doing"], message["share"])
            elif "error" in message:
                raise DataError(message["error"])
            else:
                return float(message["seconds"])
    finally:
        child.kill()
        child.wait()
    raise DataError(
        "reading the archive was stopped because it took too much memory or time, or tried something that pictures do "
        "not need; check it with another tool, or split it"
    )


def _limit() -> None:
    for what, value in (
        (resource.RLIMIT_DATA, MEMORY_BYTES),  # not RLIMIT_AS: memory-mapped pixels may be larger
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))


def _watch(event: str, _args: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        os._exit(77)


def _main() -> None:
    import time

    from orfila_engine.data import pack
    from orfila_engine.data.formats import open_source

    def say(**message: Any) -> None:
        print(json.dumps(message), flush=True)

    _limit()
    request = json.loads(sys.stdin.read())
    sys.addaudithook(_watch)
    began = time.monotonic()
    try:
        pack(
            open_source(Path(request["archive"]), request["labels"]),
            Path(request["out_dir"]),
            **request["options"],
            progress=lambda done, total: say(doing="reading pictures", share=done / max(total, 1)),
        )
    except DataError as error:
        say(error=str(error))
    except MemoryError:
        say(error="the archive needs more memory than reading pictures may take; check it, or split it")
    except OSError as error:
        say(error=f"the data set could not be stored ({error.strerror or error}); free some space and try again")
    else:
        say(seconds=time.monotonic() - began)


if __name__ == "__main__":
    _main()
