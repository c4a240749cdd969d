"""What an instance says about its configuration, whatever way it says it. Made by the config channel, read by the engine and the API."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from agent_servicing.core.config.layers import Scope

Level = Literal["file", "http", "sdk", "script"]
"""How it is known: the file on disk (L1), the agent's own answer over HTTP (L2), the SDK (L3), a script that polls."""

Attempted = Literal["prepared", "applied", "rejected", "failed", "reverted", "pending_restart", "pending_conversation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing an instance has against a document. `path` is a dotted key, empty for the whole. Secrets are masked already."""

    path: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The last document an instance tried: the revision that brought it, and `key` as in `ConfigDocument.key`."""

    revision: str
    key: str
    result: Attempted
    at: datetime
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an instance counts itself; only agents with the SDK or the HTTP contract can."""

    active_requests: int = 0
    active_streams: int = 0
    open_conversations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """The state of one instance. `applied` and `prepared` are keys of documents; "" is a document we never sent, None none at all.

    `pending`: keys of the applied document that wait for a restart or the next conversation.
    """

    instance: str
    level: Level
    at: datetime
    applied: str | None = None
    prepared: str | None = None
    attempt: Attempt | None = None
    pending: Mapping[str, Scope] = field(default_factory=dict)
    state: str = ""
    load: Load | None = None


def without_secrets(report: ConfigReport, mask: Callable[[str], str]) -> ConfigReport:
    """The same report with what `mask` leaves of the instance's reasons."""
    attempt = report.attempt
    if attempt is None or not attempt.problems:
        return report
    problems = tuple(Problem(path=mask(problem.path), message=mask(problem.message)) for problem in attempt.problems)
    return replace(report, attempt=replace(attempt, problems=problems))
