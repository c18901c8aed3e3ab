"""What the end of a job means for the domain: kind of job -> the functions to call in the same transaction.

`jobs.lifecycle` calls them; the domain services behind them never call back into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from orfila.jobs.models import Job
from orfila.storage import BlobStore


@dataclass(frozen=True)
class Outcome:
    """The four ends of a job."""

    succeeded: Callable[[Session, BlobStore, Job, dict[str, Any]], None]
    """Given the result, as `jobs.contracts` describes it for this kind."""
    failed: Callable[[Session, Job, str], None]
    """Given one sentence for people."""
    cancelled: Callable[[Session, Job], None]
    restarted: Callable[[Session, Job], None]
    """A failed or cancelled job is run again: the subject is in progress once more."""


OUTCOMES: dict[str, Outcome] = {}
"""Filled below by the domain services."""
