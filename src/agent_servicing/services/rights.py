"""Who may ask for an upgrade now, and what the calendar says to it. Pure; part of `planning`, so that dry run and request cannot differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.model import AgentState
from agent_servicing.core.schedule import Line, gate, locked_by, words
from agent_servicing.services.agent_lock import held_lock, lock_hint
from agent_servicing.services.requests import UpgradeRequest
from agent_servicing.services.transaction import agent_mismatch
from agent_servicing.services.views import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: the name that locks and the audit know, and whether it is an admin."""

    name: str
    admin: bool = False


def right_refusals(state: AgentState, request: UpgradeRequest, asker: Asker, now: datetime) -> Iterator[Refusal]:
    """What is for admins only, somebody else's lock, and an agent that is not any more as the operator saw it."""
    for wanted, field, what in (
        (request.override_freeze, "override_freeze", "Passing a freeze"),
        (request.override_staging, "override_staging", "Passing the staging gate"),
        (request.when_busy == "take_over", "when_busy", "Taking over an agent"),
    ):
        if wanted and not asker.admin:
            yield Refusal(family="denied", code="role_too_low", message=f"{what} needs the role admin.", field=field, hint="Ask an admin.")
    mismatch = agent_mismatch(state, request.if_state, request.if_version)
    if mismatch is not None:
        yield Refusal(family="conflict", code=mismatch.code, message=mismatch.message)
    lock = held_lock(state.lock, now)
    if lock is not None and lock.holder != asker.name:
        yield Refusal(family="conflict", code="agent_locked", message=f"{locked_by(lock)}.", hint=lock_hint(lock))


def calendar_warnings(state: AgentState, request: UpgradeRequest, line: Line, start: datetime, opening: datetime | None) -> Iterator[str]:
    """What holds it at its start, and until when; `opening` is when it may begin."""
    found = gate(line, state.agent.agent, start, CALENDAR)
    if found.open:
        return
    if request.override_freeze:
        yield f"It begins although it may not otherwise: {found.reason}."
    elif opening is None:
        yield f"It would not begin {words(start)}: {found.reason}. It waits until that has changed."
    else:
        yield f"It would not begin {words(start)}: {found.reason}. It waits until {words(opening)}."
