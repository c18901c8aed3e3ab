"""Which state may follow which, for jobs and shards. Every change of a state goes through `move`."""

from orfila.jobs.models import Job, Shard

JOB_MOVES: dict[str, frozenset[str]] = {
    "waiting": frozenset({"queued", "failed", "cancelled"}),
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"queued", "cancelling", "succeeded", "failed"}),
    "cancelling": frozenset({"cancelled", "succeeded", "failed"}),
    "succeeded": frozenset(),
    "failed": frozenset({"queued", "waiting"}),
    "cancelled": frozenset({"queued", "waiting"}),
}
SHARD_MOVES: dict[str, frozenset[str]] = {
    "blocked": frozenset({"queued", "cancelled"}),
    "queued": frozenset({"running", "cancelled"}),
    "running": frozenset({"queued", "succeeded", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset({"queued", "blocked"}),
    "cancelled": frozenset({"queued", "blocked"}),
}
ACTIVE = frozenset({"waiting", "queued", "running", "cancelling"})
"""States of jobs that are not over."""


def move(row: Job | Shard, state: str) -> None:
    """Change a state; raises AssertionError for a move that the tables above do not have."""
    moves = JOB_MOVES if isinstance(row, Job) else SHARD_MOVES
    assert state in moves[row.state], f"{type(row).__name__} {row.id} cannot go from {row.state} to {state}"
    row.state = state
