"""May a version still be used, and which one should follow the running one? Services mark, refuse and recommend with it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from agent_servicing.core.semver import parse
from agent_servicing.core.versions import Update, UpdateType, available_updates

Urgency = Literal["critical", "security", "withdrawn", "normal"]

_STEPS: Final[tuple[UpdateType, ...]] = ("patch", "minor", "major")
"""The smaller step first: it breaks less."""


class Standing(StrEnum):
    """Deprecated: goes on working, should not be chosen any more. Withdrawn: must not be deployed."""

    AVAILABLE = "available"
    DEPRECATED = "deprecated"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that could follow. `reachable`: an upgrade straight to it would be accepted; `breaking`: its notes need acknowledging."""

    version: str
    security: bool = False
    critical: bool = False
    standing: Standing = Standing.AVAILABLE
    breaking: bool = False
    reachable: bool = True


class Advice(NamedTuple):
    """The version to go to next, and why."""

    version: str
    type: UpdateType
    urgency: Urgency
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What to do about updates. `patch`, `minor`, `major`: the newest of each kind that may be chosen."""

    recommended: Advice | None = None
    patch: str | None = None
    minor: str | None = None
    major: str | None = None


def hints(current: str | None, candidates: Sequence[Candidate], *, standing: Standing = Standing.AVAILABLE) -> Hints:
    """Advice for whoever runs `current`, whose own standing is `standing`: first what closes holes, then away from a withdrawn version,
    then the newest that breaks nothing. Always the smallest step that does it. A major step is recommended only for one of the first two.
    """
    if current is None:
        return Hints()
    usable = {c.version: c for c in candidates if c.standing is Standing.AVAILABLE and c.reachable}
    updates = available_updates(current, usable)
    newest = {kind: next((u.version for u in updates if u.type == kind), None) for kind in _STEPS}
    advice = _closing(updates, usable) or _away(current, updates, usable, standing) or _plain(updates, usable)
    return Hints(recommended=advice, **newest)


def _closing(updates: Sequence[Update], usable: dict[str, Candidate]) -> Advice | None:
    """The smallest step that closes the worst kind of hole; the newest version of that step has its fixes too."""
    critical = [u for u in updates if usable[u.version].critical]
    fixes = critical or [u for u in updates if usable[u.version].security]
    for kind in _STEPS:
        here = [u for u in fixes if u.type == kind]
        if not here:
            continue
        chosen = _best([u for u in updates if u.type == kind and parse(u.version) >= parse(here[-1].version)], usable)
        closed = [u.version for u in fixes if parse(u.version) <= parse(chosen.version)]
        left = [u.version for u in fixes if parse(u.version) > parse(chosen.version)]
        what = "has critical fixes" if critical else "closes security problems"
        reason = f"{what} (of {', '.join(reversed(closed))}) with the smallest step" + (f"; {left[0]} has more of them" if left else "")
        return Advice(chosen.version, kind, "critical" if critical else "security", reason)
    return None


def _away(current: str, updates: Sequence[Update], usable: dict[str, Candidate], standing: Standing) -> Advice | None:
    if standing is not Standing.WITHDRAWN:
        return None
    for kind in _STEPS:
        here = [u for u in updates if u.type == kind]
        if here:
            return Advice(
                _best(here, usable).version, kind, "withdrawn", f"the running {current} is withdrawn; this is the smallest step away"
            )
    return None


def _plain(updates: Sequence[Update], usable: dict[str, Candidate]) -> Advice | None:
    chosen = next((u for u in updates if u.type != "major" and not usable[u.version].breaking), None)
    return Advice(chosen.version, chosen.type, "normal", "is the newest that breaks nothing") if chosen is not None else None


def _best(updates: Sequence[Update], usable: dict[str, Candidate]) -> Update:
    """The newest, of those that break nothing where there are any."""
    return next((u for u in updates if not usable[u.version].breaking), updates[0])
