"""What each kind of job does: spec in, result out (see orfila.jobs.contracts). No domain row is written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from orfila.jobs.contracts import Contract
from orfila_worker.tasks.check import check_cases
from orfila_worker.tasks.compare import compare
from orfila_worker.tasks.conversion import conversion
from orfila_worker.tasks.drill import drill
from orfila_worker.tasks.early_look import look_early
from orfila_worker.tasks.index import index
from orfila_worker.tasks.ingest import ingest
from orfila_worker.tasks.investigate import investigate
from orfila_worker.tasks.map import draw_map
from orfila_worker.tasks.model_check import model_check
from orfila_worker.tasks.refit import refit
from orfila_worker.tasks.remedy import remedy
from orfila_worker.tasks.sweep import sweep

if TYPE_CHECKING:
    from orfila_worker.runner import Work

TASKS: dict[str, Callable[[Work], Contract]] = {
    "ingest": ingest,
    "conversion": conversion,
    "model_check": model_check,
    "index": index,
    "investigate": investigate,
    "early_look": look_early,
    "refit": refit,
    "remedy": remedy,
    "drill": drill,
    "compare": compare,
    "check": check_cases,
    "map": draw_map,
    "sweep": sweep,
}
