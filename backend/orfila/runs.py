"""What drills, sweeps, comparisons, maps and checks share: a run of one job, and its outcome or why it has none."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy.orm import Mapped, Session

from orfila.audit.service import record
from orfila.db import Owned
from orfila.events import publish
from orfila.schema_base import RunState


class Run(Owned):
    """Mixin of such tables; each table says the columns itself."""

    KIND: ClassVar[str]
    """As events and the audit trail call it."""

    state: Mapped[str]
    error: Mapped[str | None]

    @property
    def of_case(self) -> str | None:
        """The case that it belongs to, where it belongs to one."""
        return None


def finished(session: Session, run: Run, **detail: Any) -> None:
    """It has its outcome. detail: what the audit trail says of it."""
    _end(session, run, "finished", None, detail)


def failed(session: Session, run: Run, sentence: str) -> None:
    """Its job failed, or one that it needed."""
    _end(session, run, "failed", sentence, {})


def cancelled(session: Session, run: Run) -> None:
    """Somebody stopped it."""
    _end(session, run, "cancelled", None, {})


def restarted(session: Session, run: Run) -> None:
    """Its job runs again."""
    run.state, run.error = "running", None
    tell(session, run)


def tell(session: Session, run: Run) -> None:
    """Let the project's listeners know its state."""
    belongs = {} if run.of_case is None else {"case_id": run.of_case}
    publish(session, run.KIND, {"kind": run.KIND, "id": run.id, "state": run.state} | belongs, run.project_id)


def _end(session: Session, run: Run, state: RunState, error: str | None, detail: dict[str, Any]) -> None:
    run.state, run.error = state, error
    said = {"state": state} | ({"error": error} if error else {}) | detail
    action = f"{run.KIND}.ended"
    record(session, "worker", action, run.KIND, run.id, run.project_id, said, case_id=run.of_case)
    tell(session, run)
