"""Agents of which nothing was written lately: engine and services look at the same ones, and the database is not asked. One per server."""

from dataclasses import dataclass, field, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.model import AgentState
from agent_servicing.store.database import Database
from agent_servicing.store.remembered import Remembered
from agent_servicing.store.staging import tried_of
from agent_servicing.store.state import load_states


@dataclass(slots=True)
class KnownStates:
    """`default_limit`: the server's setting for deployments at a time."""

    database: Database
    default_limit: int = 0
    _known: Remembered[AgentState] = field(init=False)

    def __post_init__(self) -> None:
        self._known = Remembered(self.database)

    async def get(self, agent: str) -> AgentState | None:
        """Everything about one agent; None when there is no such agent."""
        return await self._known.get(agent, self._read, lasts=_undisturbed)

    async def _read(self, connection: AsyncConnection, agent: str) -> AgentState | None:
        states = await load_states(connection, [agent], default_limit=self.default_limit)
        return replace(states[0], tried=await tried_of(connection, states[0])) if states else None


def _undisturbed(state: AgentState) -> bool:
    """What waits becomes another by time, and by what other agents do."""
    return not state.deployments and not state.intents
