"""Default thresholds, for all agents and for those that differ: shown, and set by admins. Called by `web`; `agent_upgrade` reads what is set.

An upgrade records the policy in force when it is asked for, so that a change here concerns only those that are asked for later.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.analysis import Policy
from agent_servicing.core.errors import FieldError, Invalid
from agent_servicing.core.events import Event
from agent_servicing.core.thresholds import Defaults, Said, in_force
from agent_servicing.ports import Clock, Ids
from agent_servicing.services.specs import limit_problems, with_thresholds
from agent_servicing.services.transaction import checked_reason, record, require_active, require_state
from agent_servicing.settings import Settings
from agent_servicing.store import thresholds as rows
from agent_servicing.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AllThresholds:
    """What is set for all agents, and of each agent that differs what is its own."""

    all: Said
    agents: Mapping[str, Said]


class Thresholds:
    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings

    async def show(self, of: Collection[str] | None = None) -> AllThresholds:
        """`of`: only these agents."""
        async with self._database.read() as connection:
            return await _shown(connection, of)

    async def of(self, agent: str) -> Defaults:
        """Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            await require_state(connection, agent)
            return await rows.load_thresholds(connection, agent)

    async def set_for_all(self, said: Said, *, actor: str, reason: str = "") -> AllThresholds:
        """As a whole: what is not said is left to the built-in ones. Raises Invalid `bad_value`, also for what an agent has of its own."""
        reason = checked_reason(reason)
        async with self._database.write() as connection:
            before = await rows.for_all(connection, lock=True)
            _check(Defaults(agent={}, all=said))
            for agent, own in (await rows.of_agents(connection)).items():
                _check(Defaults(agent=own, all=said), f"With what {agent} has of its own, ")
            await rows.save_for_all(connection, said)
            await self._tell(connection, None, before, said, actor, reason)
            return await _shown(connection)

    async def set_for_agent(self, agent: str, said: Said, *, actor: str, reason: str = "") -> Defaults:
        """As a whole: what is not said is left to those for all. Raises NotFound `unknown_agent`, Conflict `agent_removing`, Invalid `bad_value`."""
        reason = checked_reason(reason)
        async with self._database.write() as connection:
            await require_active(connection, agent)
            after = Defaults(agent=said, all=await rows.for_all(connection, lock=True))
            _check(after)
            before = (await rows.load_thresholds(connection, agent)).agent
            await rows.save_of_agent(connection, agent, said)
            await self._tell(connection, agent, before, said, actor, reason)
            return after

    async def _tell(self, connection: AsyncConnection, agent: str | None, before: Said, after: Said, actor: str, reason: str) -> None:
        data: dict[str, object] = {"before": dict(before), "after": dict(after), "status": "success"}
        event = Event(type="thresholds_changed", at=self._clock.now(), agent=agent, actor=actor, reason=reason, audit=True, data=data)
        await record(connection, self._ids, self._settings, event)


async def _shown(connection: AsyncConnection, of: Collection[str] | None = None) -> AllThresholds:
    agents = await rows.of_agents(connection)
    return AllThresholds(all=await rows.for_all(connection), agents={name: own for name, own in agents.items() if of is None or name in of})


def _check(defaults: Defaults, where: str = "") -> None:
    """Raises Invalid `bad_value` where an upgrade that takes them as they are would be refused."""
    errors = [*_problems(defaults)]
    if errors:
        raise Invalid(f"{where}{errors[0].path} {errors[0].message}.", errors=errors, code="bad_value")


def _problems(defaults: Defaults) -> Iterator[FieldError]:
    for path, message in limit_problems(with_thresholds(Policy(), in_force(defaults))):
        yield FieldError(path=f"thresholds.{path}", message=message)
