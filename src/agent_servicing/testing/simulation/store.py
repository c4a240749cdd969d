"""The simulated store: `MemoryStore` with what services do beside the engine, as the SQL store does it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_servicing.core import events
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.schedule import Line
from agent_servicing.core.status import WAITING, DeploymentStatus
from agent_servicing.ports import Commit, Lease
from agent_servicing.testing.store import MemoryStore, Row

LONGEST_NAP = timedelta(seconds=120)
"""As in the SQL store: an agent that is due later than this was put off before the clock was set back, and counts as due."""


@dataclass
class SimStore(MemoryStore):
    """A deployment that a service ended stays ended, and a load brings no more than is needed."""

    def deployments(self, agent: str) -> tuple[Deployment, ...]:
        """Everything of the agent that has not ended, as a service would read it."""
        row = self.rows.get(agent)
        return (*row.state.deployments, *row.waiting) if row else ()

    def points(self, agent: str) -> Sequence[str]:
        """Versions one can go back to."""
        row = self.rows.get(agent)
        return self._rollback_points(row.state) if row else ()

    def cancel(self, deployment: Deployment, *, actor: str, now: datetime) -> None:
        """What the service does at once with one that still waits: ends it, and writes its closing entry."""
        if deployment.status not in WAITING:
            raise AssertionError("only what waits is cancelled beside the engine")
        row = self.rows[deployment.agent]
        ended = replace(deployment, status=DeploymentStatus.CANCELLED, revision=deployment.revision + 1, finished_at=now)
        self.history[deployment.deployment] = ended
        row.waiting = [d for d in row.waiting if d.deployment != deployment.deployment]
        row.state = replace(row.state, deployments=tuple(d for d in row.state.deployments if d.deployment != deployment.deployment))
        for kind, audit in ((events.CANCELLED, False), (deployment.kind.value, True)):
            self.events.append(Event(type=kind, at=now, agent=deployment.agent, deployment=deployment.deployment, actor=actor, audit=audit))
        row.due_at, row.woken = now, True
        self._put(deployment.agent)

    def edit(self, deployment: Deployment, now: datetime) -> None:
        """What a service does that changes a waiting deployment: engines that loaded it before start afresh."""
        row = self.rows[deployment.agent]
        changed = replace(deployment, revision=deployment.revision + 1, edits=deployment.edits + 1)
        row.waiting = [changed if d.deployment == changed.deployment else d for d in row.waiting]
        kept = tuple(changed if d.deployment == changed.deployment else d for d in row.state.deployments)
        row.state = replace(row.state, deployments=kept)
        self._wake(deployment.agent, now)

    def set_line(self, line: Line, now: datetime) -> None:
        """Write the line, and have the engine look at every agent that something waits for."""
        self.line = line
        for agent in self.rows:
            if any(d.status in WAITING for d in self.deployments(agent)):
                self._wake(agent, now)

    @property
    def limit(self) -> int:
        """How many upgrades and restarts may be under way now; 0 is no limit."""
        return self._limit

    def drop_leases(self) -> None:
        """What the only server of a database does when it starts: whoever held them was killed."""
        for agent, row in self.rows.items():
            row.lease = None
            self._put(agent)

    async def claim(self, now: datetime, *, lease_seconds: float, limit: int, called: Collection[str] = ()) -> Sequence[Lease]:
        """Who is due and free, by the SQL store's rules for a clock that was set back."""
        length = timedelta(seconds=lease_seconds)
        for agent in called:
            self._wake(agent, min(self.rows[agent].due_at, now))
        due = sorted((row.due_at, agent) for agent, row in self.rows.items() if _free_at(row, now, length) <= now)
        leases = [Lease(agent=agent, token=self.ids.token(), expires_at=now + length) for _, agent in due[:limit]]
        for lease in leases:
            row = self.rows[lease.agent]
            row.lease, row.woken = lease, False
        return leases

    def free_at(self, agent: str, now: datetime, *, lease_seconds: float) -> datetime:
        """When an engine can claim it, seen from now."""
        return _free_at(self.rows[agent], now, timedelta(seconds=lease_seconds))

    async def load(self, agent: str) -> AgentState:
        """Only the releases that run or are on their way, as the SQL store does."""
        state = await super().load(agent)
        if len(state.releases) <= 1:
            return state
        wanted = {g.version for g in state.generations} | {state.agent.version}
        wanted |= {version for d in state.deployments for version in (d.from_version, d.to_version)}
        if wanted.issuperset(state.releases):
            return state
        return replace(state, releases={v: r for v, r in state.releases.items() if v in wanted})

    async def commit(self, lease: Lease, commit: Commit, now: datetime) -> bool:
        row = self.rows.get(lease.agent)
        patched = row is not None and row.asked is not None and commit.state.patch is not None  # a newer change took its place
        if row is not None and (patched or self._overtaken(commit)):
            await self.release(lease, next_at=now)
            return False
        if commit.next_at > now + LONGEST_NAP:
            commit = replace(commit, next_at=now + LONGEST_NAP)
        return await super().commit(lease, commit, now)

    def _overtaken(self, commit: Commit) -> bool:
        if any(d.deployment in self.history for d in commit.state.deployments):
            return True
        if not commit.state.deployments:
            return False
        edits = {d.deployment: d.edits for d in self.deployments(commit.state.agent.agent)}
        return any(edits.get(d.deployment, d.edits) != d.edits for d in commit.state.deployments)


def _free_at(row: Row, now: datetime, length: timedelta) -> datetime:
    due = row.due_at if row.due_at <= now + LONGEST_NAP else now
    if row.lease is None or row.lease.expires_at > now + 2 * length:
        return due
    return max(due, row.lease.expires_at)
