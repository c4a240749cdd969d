"""Logging of the server: events as slugs with keys and values, for people on a terminal or as JSON lines for a collector."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

import structlog

Mask = Callable[[str], str]

_LEFT_ALONE = frozenset({"event", "level", "timestamp", "exc_info"})


def configure(*, form: Literal["text", "json"], level_name: str, stream: TextIO | None = None, mask: Mask = str) -> None:
    """Set up structlog once per process, before anything else logs. Goes to stderr unless told; stdout belongs to the commands.

    `mask` is asked for every text that is logged, and gives back what may be shown of it.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[level_name.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        # Without the values of local variables: they may be anything, and shortened ones are not recognised as secrets.
        tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
        final: list[structlog.typing.Processor] = [tracebacks, _masking(mask), structlog.processors.JSONRenderer()]
    else:
        console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        # Once more after the console, which writes tracebacks itself; before it, because it escapes what it shows.
        final = [_masking(mask), lambda logger, name, event: mask(console(logger, name, event))]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_MaskingFormatter(mask))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _masking(mask: Mask) -> structlog.typing.Processor:
    """Every text in the event, but for its name and its time, which are ours, and an exception that is still to be rendered."""

    def masked(value: object) -> object:
        if isinstance(value, str):
            return mask(value)
        if isinstance(value, Mapping):
            return {key: masked(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [masked(inner) for inner in value]
        return value if value is None or isinstance(value, bool | int | float) else mask(str(value))

    def process(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {key: value if key in _LEFT_ALONE else masked(value) for key, value in event.items()}

    return process


class _MaskingFormatter(logging.Formatter):
    """What libraries log, tracebacks included."""

    def __init__(self, mask: Mask) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))
