"""Bodies of the audit trail."""

from orfila.schema_base import Response, Sha256, Timestamp


class AuditEvent(Response):
    """Something that somebody did. Hash-chained: `hash` covers this event and the hash before it."""

    id: int
    at: Timestamp
    actor: str
    action: str
    subject_kind: str
    subject_id: str
    project_id: str | None
    detail: dict[str, object]
    previous_hash: Sha256
    hash: Sha256


class ChainCheck(Response):
    """Whether the chain is whole."""

    ok: bool
    n_events: int
    first_broken_id: int | None
    head: Sha256
