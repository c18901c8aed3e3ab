"""Bodies of jobs. A job has stages of shards; SQL is the truth about both."""

from typing import Literal

from pydantic import Field

from orfila.schema_base import Response, Timestamp

JobKind = Literal[
    "ingest",
    "conversion",
    "model_check",
    "index",
    "investigate",
    "early_look",
    "refit",
    "map",
    "remedy",
    "drill",
    "sweep",
    "compare",
    "check",
]
SubjectKind = Literal["upload", "dataset", "model", "case", "remedy", "drill", "sweep"]
JobState = Literal["waiting", "queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
LogLevel = Literal["info", "warning", "error"]
ShardState = Literal["blocked", "queued", "running", "succeeded", "failed", "cancelled"]


class Shard(Response):
    """A part of a job that one worker runs."""

    id: str
    stage: int
    number: int
    state: ShardState
    attempts: int
    worker: str | None
    progress: float = Field(description="0 to 1.")


class JobSubject(Response):
    """What the job is about."""

    kind: SubjectKind
    id: str
    name: str


class Job(Response):
    """Work that runs outside the request."""

    id: str
    project_id: str
    kind: JobKind
    state: JobState
    subject: JobSubject | None
    phase: str = Field(description="What is being done now, in a few words.")
    progress: float = Field(description="0 to 1 over all phases.")
    seconds_left: float | None = Field(description="Estimate; null while there is no basis for one.")
    queue_position: int | None
    error: str | None = Field(description="One sentence that says what went wrong and what to do.")
    attempts: int
    created_by: str = Field(description="Name of the user.")
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    cancel_requested_at: Timestamp | None
    compute_seconds: float = Field(
        description="What the job has cost so far: seconds of all workers, lost and failed attempts included."
    )
    leases_lost: int = Field(description="How often a part of it was taken back from a worker that fell silent.")


class JobDetail(Job):
    """A job with its shards."""

    shards: list[Shard]
    depends_on: list[str]


class Worker(Response):
    """A worker process that is there."""

    name: str = Field(description="host:process id, as in the shards that it runs.")
    queues: list[str]
    device: str
    version: str
    seconds_up: float
    seconds_silent: float = Field(description="Since it last said that it is there; it does so every few seconds.")
    job_id: str | None = Field(description="The job that it works on.")


class LogLine(Response):
    """A line of a job's log."""

    id: int
    at: Timestamp
    level: LogLevel
    message: str
