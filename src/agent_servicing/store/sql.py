"""The engine's store over SQL: claims with leases, loads, and guarded commits. Implements `ports.Store`."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Update, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import PermanentError
from agent_servicing.core.events import EPHEMERAL
from agent_servicing.core.limits import PLACE_RETRY_SECONDS
from agent_servicing.core.model import AgentState
from agent_servicing.core.status import AgentStatus
from agent_servicing.ports import Commit, Ids, Lease
from agent_servicing.store import codec
from agent_servicing.store.blocks import append_blocks
from agent_servicing.store.codec import AgentBody
from agent_servicing.store.config import patch_overtaken, save_patch
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import cancel_open, overtaken, save_deployment, starting
from agent_servicing.store.event_log import append
from agent_servicing.store.known import KnownStates
from agent_servicing.store.line import load_line, under_way
from agent_servicing.store.secrets import secrets_of_removed_agent
from agent_servicing.store.tables import agents, intents

LONGEST_NAP_SECONDS = 120.0
"""No agent is left alone for longer. A time further ahead than this was written before the clock was set back, and counts as due."""


LEASES_PASSED = 64
"""Agents looked at for the next one due: more than one engine holds at once."""

NAMES_IN_ONE_STATEMENT = 500
"""Bound on the parameters of one statement."""


class SqlStore:
    """One engine's view; any number of engines may share the database. `event_retention_count` bounds live events, never the audit.

    `max_concurrent_deployments` (0: no limit) counts while operators have set no other. `may_work` is asked before every claim; what it
    raises is raised. `known`: what the services may look at too.
    """

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        event_retention_count: int,
        max_concurrent_deployments: int = 0,
        may_work: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._database, self._ids, self._retention = database, ids, event_retention_count
        self._limit, self._may_work = max_concurrent_deployments, may_work
        self.known = KnownStates(database, default_limit=max_concurrent_deployments)

    async def claim(self, now: datetime, *, lease_seconds: float, limit: int, called: Collection[str] = ()) -> Sequence[Lease]:
        """Take the agents that are due, or `called`, and not leased, longest due first."""
        if self._may_work is not None:
            await self._may_work()
        token, expires_at = self._ids.token(), now + timedelta(seconds=lease_seconds)
        due = or_(agents.c.due_at <= now, agents.c.due_at > now + timedelta(seconds=LONGEST_NAP_SECONDS))
        if called:
            due = or_(due, agents.c.agent.in_(sorted(called)[:NAMES_IN_ONE_STATEMENT]))
        free = or_(
            agents.c.lease_token.is_(None),
            agents.c.lease_expires_at <= now,
            # Further ahead than a lease ever reaches: from before the clock was set back. Doubled, so that another
            # server's clock that runs a little ahead is not mistaken for that.
            agents.c.lease_expires_at > now + timedelta(seconds=2 * lease_seconds),
        )
        # PostgreSQL skips rows another engine is just taking; SQLite ignores that clause, its writers come one by one.
        # A common table expression, which is evaluated once: the planner may repeat a subquery, and each time lock other rows.
        chosen = (
            select(agents.c.agent)
            .where(due, free)
            .order_by(agents.c.due_at, agents.c.agent)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("chosen")
        )
        statement = (
            update(agents)
            .where(agents.c.agent.in_(select(chosen.c.agent)))
            .values(lease_token=token, lease_expires_at=expires_at, woken=False)
            .returning(agents.c.agent, agents.c.due_at)
        )
        async with self._database.write(durable=False, shown=False) as connection:
            rows = (await connection.execute(statement)).all()
        return [Lease(agent=row.agent, token=token, expires_at=expires_at) for row in sorted(rows, key=lambda row: (row.due_at, row.agent))]

    async def load(self, agent: str) -> AgentState:
        """Everything about one agent. Raises PermanentError when there is no such agent."""
        state = await self.known.get(agent)
        if state is None:
            raise PermanentError(f"there is no agent {agent}")
        return state

    async def commit(self, lease: Lease, commit: Commit, now: datetime) -> bool:
        """Write the outcome of one reconcile and give the lease back.

        False when the lease is stale, and also when a service changed a waiting deployment meanwhile that this state goes on with, or no
        place is free for one that it begins: then nothing of it is written, and the agent is due again at once, or soon.
        """
        # A commit that tells nothing but readings need not wait for the disk: its state is observed anew after a power cut anyway.
        lasting = any(event.type not in EPHEMERAL for event in commit.events)
        async with self._database.write(durable=lasting) as connection:
            if connection.dialect.name != "sqlite":  # whose writers come one by one
                # A service that is just finishing a deployment holds the row; its word is then read below.
                await connection.execute(select(agents.c.agent).where(agents.c.agent == lease.agent).with_for_update())
            state = commit.state
            if await overtaken(connection, state.deployments) or await patch_overtaken(connection, lease.agent, state.patch):
                await connection.execute(_give_back(lease, next_at=now))
                return False
            if not await self._place_free(connection, lease, commit):
                await connection.execute(_give_back(lease, next_at=now + timedelta(seconds=PLACE_RETRY_SECONDS)))
                return False
            body = AgentBody(agent=commit.state.agent, generations=commit.state.generations, instances=commit.state.instances)
            next_at = min(commit.next_at, now + timedelta(seconds=LONGEST_NAP_SECONDS))
            written = await connection.execute(
                _give_back(lease, next_at=next_at)
                .where(agents.c.lease_expires_at > now)
                .values(status=commit.state.agent.status, **_changed(codec.encode_agent(body)))
            )
            if written.rowcount != 1:
                return False
            await self._write(connection, commit, now)
        return True

    async def release(self, lease: Lease, *, next_at: datetime) -> bool:
        """Give the lease back unchanged, due again at `next_at`; False and nothing happens when it is stale."""
        async with self._database.write(durable=False, shown=False) as connection:
            return (await connection.execute(_give_back(lease, next_at=next_at))).rowcount == 1

    async def next_due(self) -> datetime | None:
        """When the earliest agent can be claimed: when it is due, or when its lease ends should nobody give it back before.

        Leased ones were due, so they stand first in the order of the index; a free one behind more of them than are looked at is
        found by polling.
        """
        leased = agents.c.lease_token.is_not(None)
        late = and_(leased, agents.c.lease_expires_at > agents.c.due_at)
        free_at = case((late, agents.c.lease_expires_at), else_=agents.c.due_at).label("free_at")
        first = select(free_at).order_by(agents.c.due_at).limit(LEASES_PASSED).subquery()
        async with self._database.glance() as connection:
            earliest: datetime | None = (await connection.execute(select(func.min(first.c.free_at)))).scalar_one_or_none()
            return earliest

    async def wake(self, names: Collection[str] | None, now: datetime) -> None:
        """Make these agents (None: all) due at once; one that an engine holds just now is due again when it is given back."""
        statement = update(agents).values(due_at=now, woken=True)
        # Durable writes stand in one line; two that update many agents side by side could wait for each other on PostgreSQL.
        async with self._database.write() as connection:
            if names is None:
                await connection.execute(statement)
                return
            wanted = sorted(names)
            for first in range(0, len(wanted), NAMES_IN_ONE_STATEMENT):
                some = wanted[first : first + NAMES_IN_ONE_STATEMENT]
                await connection.execute(statement.where(agents.c.agent.in_(some)))

    async def drop_leases(self) -> int:
        """Take every lease back: for the start of the only server on this database, whose predecessor may have been killed."""
        async with self._database.write(durable=False) as connection:
            held = agents.c.lease_token.is_not(None)
            return (await connection.execute(update(agents).where(held).values(lease_token=None, lease_expires_at=None))).rowcount

    async def _place_free(self, connection: AsyncConnection, lease: Lease, commit: Commit) -> bool:
        """Whether the deployments that this commit begins fit into the limit. Those who ask at the same time are answered one after the other."""
        begun = await starting(connection, commit.state.deployments)
        if not begun:
            return True
        # The agent's row before the log's, in the order in which every transaction takes them.
        await connection.execute(select(agents.c.agent).where(agents.c.agent == lease.agent).with_for_update())
        await append(connection, self._ids, (), keep=self._retention)
        line = await load_line(connection)
        limit = self._limit if line.max_concurrent_deployments is None else line.max_concurrent_deployments
        return limit <= 0 or await under_way(connection, besides=begun) + len(begun) <= limit

    async def _write(self, connection: AsyncConnection, commit: Commit, now: datetime) -> None:
        agent = commit.state.agent
        for deployment in commit.state.deployments:
            await save_deployment(connection, deployment)
        await append_blocks(connection, commit.blocks)
        if commit.state.patch is not None:
            await save_patch(connection, agent.agent, commit.state.patch)
        if commit.intents_done:
            await connection.execute(delete(intents).where(intents.c.intent.in_(list(commit.intents_done))))
        if commit.events:
            await append(connection, self._ids, commit.events, keep=self._retention)
        if agent.status is AgentStatus.REMOVED:
            await cancel_open(connection, agent.agent, message="The agent was removed.", now=now)
            await secrets_of_removed_agent(connection, agent.agent)
            # Its intents and versions go with the row.
            await connection.execute(delete(agents).where(agents.c.agent == agent.agent))


def _changed(body: str) -> dict[str, object]:
    """A turn that found everything as it was changes nothing that a list shows."""
    return {"body": body, "edits": case((agents.c.body == body, agents.c.edits), else_=agents.c.edits + 1)}


def _give_back(lease: Lease, *, next_at: datetime) -> Update:
    """Ends the lease. A wake-up that came while it was held has set `due_at` already and stays."""
    return (
        update(agents)
        .where(agents.c.agent == lease.agent, agents.c.lease_token == lease.token)
        .values(lease_token=None, lease_expires_at=None, due_at=case((agents.c.woken, agents.c.due_at), else_=next_at))
    )
