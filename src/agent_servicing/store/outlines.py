"""What lists show of many agents: which of them changed, and those read anew. Used by the services' index of the fleet.

Every change of an agent's body, deployments or versions adds one to its `edits`; together with `created_at` that is a `Stamp` of what was read,
also across an agent that was removed and taken on again under its old name.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import String, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.status import TERMINAL, DeploymentStatus
from agent_servicing.store import codec
from agent_servicing.store.tables import NAMED, agents, deployments

Stamp = tuple[object, int]
"""Equal ones: nothing that a list shows has changed."""


_BODIES = select(agents.c.agent, agents.c.body).where(agents.c.agent.in_(NAMED)).order_by(agents.c.agent)
_OPEN = select(deployments.c.agent, deployments.c.body).where(deployments.c.status.not_in(sorted(TERMINAL))).order_by(deployments.c.number)
_OPEN_OF = _OPEN.where(deployments.c.agent.in_(NAMED))


async def note_change(connection: AsyncConnection, agent: str) -> None:
    """Called by whatever writes a deployment or a version."""
    await connection.execute(update(agents).where(agents.c.agent == agent).values(edits=agents.c.edits + 1))


async def load_stamps(connection: AsyncConnection) -> Mapping[str, Stamp]:
    """Every agent, by id, in that order."""
    created_at = type_coerce(agents.c.created_at, String)  # only ever compared: a thousand times are not parsed for it
    rows = (await connection.execute(select(agents.c.agent, created_at, agents.c.edits).order_by(agents.c.agent))).all()
    return {agent: (created_at, edits) for agent, created_at, edits in rows}


async def load_outlines(connection: AsyncConnection, names: Sequence[str]) -> list[AgentState]:
    """These agents without what only a decision needs: the agent, its generations, instances and open deployments, in two queries."""
    bodies = {row.agent: codec.decode_agent(row.body) for row in (await connection.execute(_BODIES, {"names": list(names)})).all()}
    open_ = await open_deployments(connection, names)
    return [
        AgentState(agent=body.agent, generations=body.generations, instances=body.instances, deployments=tuple(open_.get(name, ())))
        for name, body in bodies.items()
    ]


async def open_deployments(connection: AsyncConnection, names: Sequence[str] | None) -> Mapping[str, list[Deployment]]:
    """What has not ended, by agent, in the order of the requests; `names` None: of all agents."""
    several = connection.execute(_OPEN) if names is None else connection.execute(_OPEN_OF, {"names": list(names)})
    found: dict[str, list[Deployment]] = defaultdict(list)
    for row in (await several).all():
        found[row.agent].append(codec.decode_deployment(row.body))
    return found


async def agents_with(connection: AsyncConnection, statuses: Collection[DeploymentStatus]) -> list[str]:
    """Those that have a deployment of one of these statuses, by id."""
    query = select(deployments.c.agent).where(deployments.c.status.in_(sorted(statuses))).distinct().order_by(deployments.c.agent)
    return list((await connection.execute(query)).scalars())
