"""All SQL of cases."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orfila.cases.models import Case


def next_number(session: Session, project_id: str) -> int:
    """The next number of a project's cases, from 1."""
    return (session.scalar(select(func.max(Case.number)).where(Case.project_id == project_id)) or 0) + 1


def seconds_per_image(session: Session, project_id: str, engine: str) -> float | None:
    """What scoring took for each training image in the project's last case of an engine that has a finding."""
    finding = session.scalar(
        select(Case.finding)
        .where(Case.project_id == project_id, Case.engine == engine, Case.finding.is_not(None))
        .order_by(Case.created_at.desc())
        .limit(1)
    )
    if not finding:
        return None
    seconds: float = sum(finding["seconds"].values())
    return seconds / max(1, int(finding["n_train"]))
