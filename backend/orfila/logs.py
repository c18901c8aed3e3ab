"""Logs of every process: one line each event, with the ids of the request or job that it belongs to.

On a terminal they are for people, otherwise JSON (`ORFILA_LOG_FORMAT`). Lines of the libraries take the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

import structlog

from orfila.settings import Settings

bound = structlog.contextvars.bound_contextvars
"""`with bound(request_id=…):` adds fields to every line that is written inside, in this thread or task."""
_QUIET = ("alembic", "botocore", "boto3", "urllib3", "s3transfer", "httpx", "kombu", "amqp", "celery.redirected")


def configure(settings: Settings, out: IO[str] | None = None) -> None:
    """Send all lines of this process to a stream, standard error by default."""
    stream = out or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # As plain text: rich tracebacks print every local, which takes a minute for a data set's columns.
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, colors=stream.isatty())]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
