"""Entries as text, in the form that a sink's owner chose. Used by every sink."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent_servicing import __version__
from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.audit_ocsf import ocsf
from agent_servicing.core.audit_text import shown

Form = Callable[[StoredEvent], dict[str, Any]]


def _servicing(stored: StoredEvent) -> dict[str, Any]:
    return {**shown(stored), "timestamp": stored.event.at.isoformat().replace("+00:00", "Z")}


def _ocsf(stored: StoredEvent) -> dict[str, Any]:
    return ocsf(stored, version=__version__)


FORMS: Final[Mapping[str, Form]] = {"servicing": _servicing, "ocsf": _ocsf}
"""By name: our own, as the API shows it and `servicing audit verify --file` checks it; and that of the OCSF."""


def line(record: object) -> str:
    """JSON on one line; what is no ASCII is escaped, so that no reader takes one of its characters for the end of the line."""
    return json.dumps(record, separators=(",", ":"))
