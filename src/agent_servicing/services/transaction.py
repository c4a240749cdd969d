"""What every use case shares: finding the agent or saying which there are, and writing its event in the same transaction."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState
from agent_servicing.core.status import AgentStatus, Verb
from agent_servicing.ports import Ids
from agent_servicing.services.origin import current
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.store.known import KnownStates
from agent_servicing.store.state import load_states

TOPIC: Final = "agent"
"""What services publish on the bus after every commit: the engine and the live view look what is new."""

REASON_CHARACTERS_MAX: Final = 2_000
"""A reason is a sentence or two; it is stored with the deployment, its events and the audit."""

INTENTS_MAX: Final = 100
"""Wishes waiting for one agent's engine. It takes them within a second, so more of them are a runaway script."""

NAMES_SHOWN: Final = 10
"""How many valid names an error lists."""


async def require_state(connection: AsyncConnection, agent: str, *, lock: bool = False) -> AgentState:
    """The agent as it is; `lock` for what is decided on it and written in this transaction. Raises NotFound `unknown_agent`."""
    if lock:
        await queries.agent_row(connection, agent, lock=True)
    states = await load_states(connection, [agent])
    if not states:
        raise await unknown_agent(connection, agent)
    return states[0]


async def known_state(database: Database, states: KnownStates, agent: str) -> AgentState:
    """The agent for who only shows it. Raises NotFound `unknown_agent`."""
    state = await states.get(agent)
    if state is None:
        async with database.glance() as connection:
            raise await unknown_agent(connection, agent)
    return state


async def require_active(connection: AsyncConnection, agent: str) -> AgentState:
    """Like `require_state` with a lock; raises Conflict `agent_removing` for one that is on its way out."""
    state = await require_state(connection, agent, lock=True)
    if leaving(state):
        raise Conflict(f"{agent} is being removed.", code="agent_removing")
    return state


def agent_mismatch(state: AgentState, if_state: str | None, if_version: str | None) -> Conflict | None:
    """The error for an agent that is not as the caller saw it: its status, or the version that serves."""
    agent = state.agent
    current = {"agent_id": agent.agent, "status": agent.status.value, "current_version": agent.version}
    if if_state is not None and agent.status != if_state:
        return Conflict(f"{agent.agent} is {agent.status}, not {if_state}.", code="state_mismatch", current=current)
    if if_version is not None and agent.version != if_version:
        return Conflict(f"{agent.agent} runs {agent.version or 'nothing'}, not {if_version}.", code="version_mismatch", current=current)
    return None


def check_agent(state: AgentState, *, if_state: str | None, if_version: str | None) -> None:
    """Raises Conflict `state_mismatch` or `version_mismatch`, with the agent as it is under `current`."""
    mismatch = agent_mismatch(state, if_state, if_version)
    if mismatch is not None:
        raise mismatch


def leaving(state: AgentState) -> bool:
    """Whether it is being removed, or somebody has asked for that and the engine has not seen it yet."""
    return state.agent.status is not AgentStatus.ACTIVE or any(intent.verb is Verb.REMOVE for intent in state.intents)


async def unknown_agent(connection: AsyncConnection, agent: str) -> NotFound:
    names = await queries.agent_names(connection)
    hint = f"Known agents: {shown(names)}." if names else "There is no agent yet; add one first."
    return NotFound(f"There is no agent {agent}.", hint=hint, code="unknown_agent")


async def require_room(connection: AsyncConnection, agent: str) -> None:
    """Raises Conflict `too_many_requests` when the agent has more wishes waiting than it can mean."""
    if await queries.intent_count(connection, agent) >= INTENTS_MAX:
        raise Conflict(f"{INTENTS_MAX} requests for {agent} are waiting already.", hint="Try again in a moment.", code="too_many_requests")


async def record(connection: AsyncConnection, ids: Ids, settings: Settings, *events: Event) -> int:
    """Append events to the log; returns the newest number."""
    return await append(connection, ids, events, keep=settings.event_retention_count, source=current().view())


def checked_reason(reason: str, *, needed: bool = False) -> str:
    """The reason without blanks around it. Raises Invalid `reason_missing` or `reason_too_long`."""
    reason = reason.strip()
    if needed and not reason:
        error = FieldError(path="reason", message="must say why, in at least one word")
        raise Invalid("A reason is needed.", errors=(error,), code="reason_missing")
    if len(reason) > REASON_CHARACTERS_MAX:
        error = FieldError(path="reason", message=f"at most {REASON_CHARACTERS_MAX} characters")
        raise Invalid("The reason is too long.", errors=(error,), code="reason_too_long")
    return reason


def shown(names: "list[str] | tuple[str, ...]") -> str:
    """Names for a sentence, the first few of them."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
