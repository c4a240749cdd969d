"""What an agent's generations are busy with, as a table: who serves, who leaves, and what is still open there. `status` shows it."""

from collections.abc import Sequence
from typing import Any, Final

from agent_servicing.cli.answers import Json
from agent_servicing.cli.output import table
from agent_servicing.cli.words import duration

COLUMNS: Final = ("generation", "version", "phase", "instances", "conversations", "in flight", "streams", "time left")

UNKNOWN: Final = "?"
"""A count that nobody knows; a zero would say that there is none."""


def generations_table(generations: Sequence[Json]) -> Any:
    rows = [
        (
            f"g{each.get('generation')}",
            each.get("version"),
            each.get("phase"),
            each.get("instances"),
            *(UNKNOWN if each.get(key) is None else each[key] for key in ("conversations", "in_flight", "active_streams")),
            _left(each),
        )
        for each in generations
    ]
    return table(COLUMNS, rows)


def _left(view: Json) -> str:
    """What is over says nothing any more."""
    parts = (("conversations", view.get("conversation_seconds_left")), ("streams", view.get("stream_seconds_left")))
    return ", ".join(f"{name} {duration(float(seconds))}" for name, seconds in parts if seconds)
