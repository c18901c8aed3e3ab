"""Whoever has images left to judge blind sees nothing of the case that could tell them what to say.

What such a person may ask about the case is listed; everything else is refused, so that a new address is hidden until
somebody has thought about it.
"""

from __future__ import annotations

from fastapi import Request
from sqlalchemy import select

from orfila.comparisons.models import Comparison
from orfila.db import Database
from orfila.errors import Forbidden
from orfila.maps.models import FingerprintMap
from orfila.remedies.models import Remedy
from orfila.rounds import service
from orfila.web.dependencies import DatabaseDep, SubjectDep

SHOWN = frozenset(
    {
        "get_case",  # the finding as a whole, no image of it
        "update_case",
        "get_affected_pixels",
        "get_query_pixels",
        "list_verdicts",  # their own ones only
        "post_verdicts",
        "undo_verdicts",
        "redo_verdicts",
        "list_rounds",
        "create_round",
        "arrive_at_case",
        "leave_case",
    }
)
"""Routes of a case, by the name of their function."""
_CASES = ("case_id", "other_id")
"""Parameters of a path that name a case."""
_OWNED = {"remedy_id": Remedy.id, "comparison_id": Comparison.id, "map_id": FingerprintMap.id}


def require_sight(request: Request, database: DatabaseDep, subject: SubjectDep) -> None:
    """Refuse what would lead the eye of somebody who judges blind."""
    parameters = request.path_params
    if not parameters.keys() & {*_CASES, *_OWNED} or request.scope["route"].name in SHOWN:
        return
    if _is_hidden(database, subject, parameters):
        raise Forbidden(
            "You have images left to judge blind in this case; this is shown when you have judged them.", code="blind"
        )


def _is_hidden(database: Database, subject: SubjectDep, parameters: dict[str, str]) -> bool:
    with database.reading() as session:
        asked = [parameters[name] for name in _CASES if name in parameters]
        for name, column in _OWNED.items():
            if name in parameters:
                asked += session.scalars(select(column.class_.case_id).where(column == parameters[name]))
        return any(service.is_blind(session, subject, case_id) for case_id in asked)
