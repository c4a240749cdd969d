"""A secret's newest version brought to the agents that use an older one, each by a hot patch of its own. Called by `web`.

An agent that refuses it, is busy or is locked keeps what it has; the others get it all the same, and the answer names each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from agent_servicing.core.config.layers import effective
from agent_servicing.core.config.references import references
from agent_servicing.core.errors import ServicingError
from agent_servicing.core.model import AgentState
from agent_servicing.services.config_hotpatch import ConfigHotpatch
from agent_servicing.services.config_views import layers_in_force, spec_of
from agent_servicing.services.fleet import Fleet
from agent_servicing.services.secrets import SecretInfo, Secrets
from agent_servicing.services.transaction import require_state
from agent_servicing.store.database import Database

AT_ONCE: Final = 8
"""Agents that get it at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one agent stands with the newest version.

    `status`: applied; applying (it goes on without the caller); current (it had it already); needs_restart (only a rolling restart brings
    it); pinned (the agent's version names an older one itself); failed (`reason` and `code` say why).
    """

    agent: str
    status: Literal["applied", "applying", "current", "needs_restart", "pinned", "failed"]
    config_version: str | None = None
    reason: str = ""
    code: str | None = None


class SecretDelivery:
    """`hotpatch` changes what operators set, `fleet` restarts agents whose version itself refers to the newest."""

    def __init__(self, *, database: Database, secrets: Secrets, hotpatch: ConfigHotpatch, fleet: Fleet) -> None:
        self._database, self._secrets, self._hotpatch, self._fleet = database, secrets, hotpatch, fleet

    async def apply(
        self, name: str, *, actor: str, reason: str = "", restart: bool = False, reaches: Callable[[str], bool] = lambda _: True
    ) -> tuple[SecretInfo, Sequence[Delivery]]:
        """Every agent in reach whose configuration in force refers to `name`; by agent. What a rollback would bring back stays as it is.

        Raises NotFound `unknown_secret`.
        """
        info = await self._secrets.get(name)
        agents = sorted({use.agent for use in info.used_by if use.in_force and reaches(use.agent)})
        why = reason.strip() or f"version {info.newest.version} of the secret {name}"
        done: dict[str, Delivery] = {}
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def deliver(agent: str) -> None:
            async with limiter:
                done[agent] = await self._deliver(info, agent, actor=actor, reason=why, restart=restart)

        async with anyio.create_task_group() as tasks:
            for agent in agents:
                tasks.start_soon(deliver, agent)
        for delivery in done.values():
            if delivery.status == "failed":
                await self._secrets.note_undelivered(name, delivery.agent, actor=actor, reason=delivery.reason)
        await self._secrets.note_applied(info, {agent: done[agent].status for agent in agents}, actor=actor, reason=why)
        return info, [done[agent] for agent in agents]

    async def _deliver(self, info: SecretInfo, agent: str, *, actor: str, reason: str, restart: bool) -> Delivery:
        try:
            outcome = await self._hotpatch.point(agent, info.name, info.newest.version, reason=reason, actor=actor, restart=restart)
            match outcome.status:
                case "unchanged":
                    return await self._of_the_version(info, agent, actor=actor, reason=reason, restart=restart)
                case "needs_restart":
                    why = "it reads this only when it starts; ask for a rolling restart"
                    return Delivery(agent=agent, status="needs_restart", config_version=outcome.config_version, reason=why)
                case "applied":
                    return Delivery(agent=agent, status="applied", config_version=outcome.config_version)
                case _:
                    return Delivery(agent=agent, status="applying", config_version=outcome.config_version, reason=outcome.status)
        except ServicingError as error:
            return Delivery(agent=agent, status="failed", reason=error.message, code=error.code)

    async def _of_the_version(self, info: SecretInfo, agent: str, *, actor: str, reason: str, restart: bool) -> Delivery:
        """What the version itself refers to cannot be changed; where it says no number, its instances got the newest when they started."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
        named = _versions_named(state, info.name)
        if any(version not in (None, info.newest.version) for version in named):
            why = f"{state.agent.version} itself names version {min(v for v in named if v is not None)}; deploy one that does not"
            return Delivery(agent=agent, status="pinned", reason=why)
        answering = {g.number for g in state.generations if g.answering}
        older = [i for i in state.instances if i.generation in answering and i.created_at < info.newest.created_at]
        if None not in named or not older:
            return Delivery(agent=agent, status="current")
        if not restart:
            why = f"{state.agent.version} itself refers to it, and some of its instances are older; ask for a rolling restart"
            return Delivery(agent=agent, status="needs_restart", reason=why)
        deployment = await self._fleet.restart(agent, actor=actor, reason=reason)
        return Delivery(agent=agent, status="applying", reason=f"restarted by {deployment.deployment}")


def _versions_named(state: AgentState, name: str) -> set[int | None]:
    """Versions of the secret that the configuration in force refers to; None for the newest there is."""
    spec, schema = spec_of(state, state.agent.version)
    layers = layers_in_force(state)
    whole = [dict(effective(spec, schema, layers, place=place)) for place in (None, *layers.places)]
    return {version for found, version in references(whole) if found == name}
