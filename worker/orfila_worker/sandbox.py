"""Processes of their own for what is untrusted: reading an archive here, a PyTorch file in `conversion`.

The child has limits on memory, processor time and file size, no network where the kernel lets it go without, and an
audit hook that ends it when anything tries to unpickle, start a program or open a connection. It is given its request
on standard input, and reports progress and its answer as JSON lines.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from orfila_engine.data import DataError
from orfila_engine.progress import Progress

MEMORY_BYTES = 4 * 2**30
CPU_SECONDS = 4 * 3600
FILE_BYTES = 512 * 2**30
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
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
    request = {"archive": archive, "out_dir": out_dir, "options": options, "labels": labels}
    return run_step("pack", request, progress)


def run_step(step: Literal["pack", "survey", "fill", "join"], request: dict[str, Any], progress: Progress) -> float:
    """Run a step of `packing`, which says what it asks for; returns the seconds it took. Raises DataError as above."""
    request = {"step": step} | request
    answer = ask("orfila_worker.sandbox", request, progress)
    if answer is None:
        raise DataError(
            "reading the archive was stopped because it took too much memory or time, or tried something that pictures "
            "do not need; check it with another tool, or split it"
        )
    return float(answer["seconds"])


def ask(
    module: Literal["orfila_worker.sandbox", "orfila_worker.conversion"], request: dict[str, Any], progress: Progress
) -> dict[str, Any] | None:
    """Run a module as a throw-away process and return its answer; None when it ended without one.

    Raises DataError with the sentence that the child reports.
    """
    child = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-I", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request, default=str))
        child.stdin.close()
        for line in child.stdout:
            message: dict[str, Any] = json.loads(line)
            if "share" in message:
                progress(message["doing"], message["share"])
            elif "error" in message:
                raise DataError(message["error"])
            else:
                return message
    finally:
        child.kill()
        child.wait()
    return None


def say(**message: Any) -> None:
    """Report to the parent: doing and share, error, or the answer."""
    print(json.dumps(message), flush=True)


def confine(memory_bytes: int = MEMORY_BYTES) -> None:
    """Give up what reading a file does not need; before any other thread is started. The hook comes with `watch`."""
    for what, value in (
        (resource.RLIMIT_DATA, memory_bytes),  # not RLIMIT_AS: memory-mapped pixels may be larger
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    # A network of one's own, with nothing in it. Without the right to that, as a user who has it in his own namespace;
    # where the kernel forbids both, the audit hook is what is left.
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def watch() -> None:
    """End this process, from now on, at anything in FORBIDDEN. It cannot be undone."""
    sys.addaudithook(_end_at_forbidden)


def _end_at_forbidden(event: str, _args: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        os._exit(77)


def _main() -> None:
    import time

    confine()
    from orfila_worker import packing

    request = json.loads(sys.stdin.read())
    watch()
    began = time.monotonic()
    try:
        packing.run(request, lambda done, total: say(doing="reading pictures", share=done / max(total, 1)))
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
