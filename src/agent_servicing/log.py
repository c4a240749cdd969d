"""Logging of the server: events as slugs with keys and values, for people on a terminal or as JSON lines for a collector."""

import logging
import sys
from typing import Literal, TextIO

import structlog


def configure(*, form: Literal["text", "json"], level_name: str, stream: TextIO | None = None) -> None:
    """Set up structlog once per process, before anything else logs. Goes to stderr unless told; stdout belongs to the commands."""
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[level_name.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        final: list[structlog.typing.Processor] = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        final = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=stream, format="%(levelname)s %(name)s %(message)s", force=True)
