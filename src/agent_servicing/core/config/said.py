"""What an instance says of itself on the link, as it says it: hashes of texts, names of revisions. The config channel turns it into reports."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent_servicing.core.config.layers import Scope
from agent_servicing.core.config.report import Attempted, Load, Problem

State = Literal["starting", "ready", "busy", "draining", "drained", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A document by the revision that brought it and the SHA-256 of its text, in lower-case hex."""

    revision: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The last document it tried, and what came of it."""

    revision: str
    hash: str
    phase: Literal["prepare", "commit"]
    result: Attempted
    errors: tuple[Problem, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingKey:
    """A key of the applied document that takes effect later."""

    path: str
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidConfig:
    applied: Held | None = None
    prepared: Held | None = None
    last_good: Held | None = None
    last_attempt: Tried | None = None
    pending: tuple[PendingKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One report. `level` is how it is connected, `client` what it is connected with."""

    level: Literal["sdk", "http", "script"] = "http"
    client: str = ""
    config: SaidConfig = field(default_factory=SaidConfig)
    state: State = "ready"
    load: Load | None = None
