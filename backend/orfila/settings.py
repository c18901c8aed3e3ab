"""Settings of every process, from environment variables ORFILA_* (or a file named by ORFILA_ENV_FILE)."""

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_SOCKET_PATH = 100
"""Linux allows 107 bytes."""


UI_DIR = Path(__file__).parent / "static" / "ui"
"""The built browser interface; absent in a checkout that was not built."""


class Settings(BaseSettings):
    """One field, one sentence. Defaults run everything on one machine below `data_dir`."""

    model_config = SettingsConfigDict(env_prefix="ORFILA_", env_file=os.environ.get("ORFILA_ENV_FILE"), extra="ignore")

    data_dir: Path = Field(Path(".orfila"), description="Folder for database, broker socket, files and logs.")
    database_url: str | None = Field(None, description="SQLAlchemy address; default SQLite below data_dir.")
    broker_url: SecretStr | None = Field(None, description="redis:// or redis+socket://; default the embedded Valkey.")
    storage_url: str | None = Field(None, description="s3://BUCKET/PREFIX for all files; default below data_dir.")
    s3_endpoint_url: str | None = Field(None, description="Address of an S3 server that is not Amazon's.")
    storage_cache_bytes: int = Field(50 * 2**30, ge=0, description="Of files of a bucket, kept on this disk.")
    host: str = Field("127.0.0.1", description="Address that the API binds to.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API binds to.")
    allowed_hosts: list[str] = Field(["127.0.0.1", "localhost", "[::1]"], description="Accepted Host headers.")
    public_url: str | None = Field(None, description="Address that people open, where it differs from host and port.")
    max_upload_bytes: int = Field(20 * 2**30, description="Largest upload accepted.")
    project_quota_bytes: int = Field(100 * 2**30, description="Bytes of uploads that a project may reserve.")
    min_free_bytes: int = Field(512 * 2**20, description="Free disk space that an upload must leave.")
    upload_expiry_hours: int = Field(72, description="Unfinished uploads are removed after this.")
    convert_torch_files: bool = Field(
        False, description="Accept .pt and .pth files of torch.save, and convert them in a sandbox."
    )
    oidc_issuer: str | None = Field(None, description="Address of an OpenID provider to sign in with; https.")
    oidc_client_id: str = Field("", description="What this installation is called there.")
    oidc_client_secret: SecretStr | None = Field(None, description="Its secret there; none for a public client.")
    oidc_name: str = Field("single sign-on", description="What the button of the sign-in page calls the provider.")
    oidc_scopes: str = Field("openid profile email groups", description="What is asked for.")
    oidc_groups_claim: str = Field("groups", description="The claim that lists a person's groups.")
    oidc_groups: dict[str, str] = Field(
        {},
        description='What a group may do, as {"security": "administrator", "labellers": "PROJECT_ID:reviewer"}; people '
        "in none of these groups are refused.",
    )
    webhooks: bool = Field(False, description="Let owners of projects have events sent to addresses of theirs.")
    webhooks_to_private: bool = Field(False, description="Also to addresses of private networks and this machine.")
    smtp_url: SecretStr | None = Field(
        None, description="smtp://USER:PASSWORD@HOST:587 or smtps://...: notifications by e-mail too."
    )
    mail_from: str = Field("orfila@localhost", description="Sender of e-mails.")
    session_hours: int = Field(24 * 7, description="A sign-in lasts this long.")
    lease_seconds: float = Field(20.0, gt=0, description="A worker that is silent for this long loses its shard.")
    stall_seconds: float = Field(900.0, gt=0, description="A shard without progress for this long is taken back.")
    max_attempts: int = Field(3, ge=1, description="A shard fails for good after this many attempts.")
    sweep_seconds: float = Field(1.0, gt=0, description="Pause between two rounds of the sweeper.")
    index_shard_images: int = Field(5_000, ge=100, description="Training images in one shard of an index.")
    ingest_whole_bytes: int = Field(
        256 * 2**20, ge=0, description="An archive of at most this size is read by one worker, a larger one in parts."
    )
    ingest_part_images: int = Field(16_384, ge=1_024, description="Images in one part of a larger archive.")
    gpu_devices: list[str] = Field(
        [],
        description='Devices of `orfila up`, each with a process for the queue gpu, as ["cuda:0", "cuda:1"]; '
        "default one process on `device`.",
    )
    gpu_threads: int | None = Field(
        None, ge=1, description="Processor threads of each of these processes; default an equal share of the cores."
    )
    log_format: Literal["auto", "json", "text"] = Field("auto", description="Of log lines; text on a terminal only.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    device: str = Field("auto", description="torch device of the workers: auto, cpu, cuda, cuda:0 ...")

    @property
    def resolved_database_url(self) -> str:
        """The address of the database, SQLite below `data_dir` unless set."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'orfila.db'}"

    @property
    def broker_socket(self) -> Path:
        """The Unix socket of the embedded Valkey, below `data_dir` unless that is too long for a socket's address."""
        socket = self.data_dir.resolve() / "run" / "valkey.sock"
        if len(str(socket)) <= MAX_SOCKET_PATH:
            return socket
        short = hashlib.sha256(str(socket).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"orfila-{short}" / "valkey.sock"

    @property
    def resolved_broker_url(self) -> str:
        """The address of the broker, the embedded Valkey's socket unless set."""
        return self.broker_url.get_secret_value() if self.broker_url else f"redis+socket://{self.broker_socket}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
