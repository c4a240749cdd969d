"""The `Store` port in memory: leases, fencing and one event log, for engine tests and simulation. Keeps frozen values, so nothing leaks."""

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent_servicing.core.config.patch import Patch
from agent_servicing.core.draft import JudgedBlock
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.events import Event
from agent_servicing.core.limits import PLACE_RETRY_SECONDS
from agent_servicing.core.model import AgentState, Deployment, Intent, Release
from agent_servicing.core.schedule import Line, Lock, Places
from agent_servicing.core.status import PLACED, WAITING, AgentStatus, DeploymentStatus
from agent_servicing.core.versions import ROLLBACK_POINTS
from agent_servicing.ports import Commit, Ids, Lease


@dataclass(slots=True)
class Row:
    """One agent as it is stored, with what services wrote beside the engine since."""

    state: AgentState
    due_at: datetime
    lease: Lease | None = None
    woken: bool = False
    intents: list[Intent] = field(default_factory=list)
    waiting: list[Deployment] = field(default_factory=list)
    asked: Patch | None = None

    @property
    def free_at(self) -> datetime:
        """When it can be claimed: due, and not leased any more."""
        return self.due_at if self.lease is None else max(self.due_at, self.lease.expires_at)


@dataclass(slots=True)
class MemoryStore:
    """`add`, `request` and `intend` stand for the services that write beside the engine."""

    ids: Ids
    rows: dict[str, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    history: dict[str, Deployment] = field(default_factory=dict)
    blocks: dict[str, list[JudgedBlock]] = field(default_factory=dict)
    patches: dict[tuple[str, str], Patch] = field(default_factory=dict)
    """Every change of a configuration as it was last committed, by agent and revision."""
    line: Line = field(default_factory=Line)
    locks: dict[str, Lock] = field(default_factory=dict)
    max_concurrent_deployments: int = 0
    stale_commits: int = 0
    _history_of: dict[str, dict[str, Deployment]] = field(default_factory=dict)
    _order: list[tuple[datetime, str]] = field(default_factory=list)
    """A heap of (when free, agent). An entry whose row says otherwise by now is passed over, so that a claim never looks at all rows."""

    def add(self, state: AgentState, now: datetime) -> None:
        self.rows[state.agent.agent] = Row(state, due_at=now)
        self._put(state.agent.agent)

    def request(self, deployment: Deployment, release: Release, now: datetime) -> None:
        row = self.rows[deployment.agent]
        row.waiting.append(deployment)
        row.state = replace(row.state, releases={**row.state.releases, release.version: release})
        self._wake(deployment.agent, now)

    def intend(self, intent: Intent, now: datetime) -> None:
        self.rows[intent.agent].intents.append(intent)
        self._wake(intent.agent, now)

    def patch(self, agent: str, patch: Patch, now: datetime) -> None:
        """Ask for a change of the configuration; the newest one counts."""
        self.rows[agent].asked = patch
        self._wake(agent, now)

    async def claim(self, now: datetime, *, lease_seconds: float, limit: int, called: Collection[str] = ()) -> Sequence[Lease]:
        leases: list[Lease] = []
        for agent in called:
            if (row := self.rows.get(agent)) is not None and (row.lease is None or row.lease.expires_at <= now):
                self._wake(agent, min(row.due_at, now))
        while len(leases) < limit and (free_at := self._next()) is not None and free_at <= now:
            _, agent = heapq.heappop(self._order)
            row = self.rows[agent]
            row.woken = False
            row.lease = Lease(agent=agent, token=self.ids.token(), expires_at=now + timedelta(seconds=lease_seconds))
            leases.append(row.lease)
            self._put(agent)
        return leases

    async def load(self, agent: str) -> AgentState:
        row = self.rows.get(agent)
        if row is None:
            raise PermanentError(f"there is no agent {agent}")
        if row.asked is not None:
            row.state, row.asked = replace(row.state, patch=row.asked), None
        return replace(
            row.state,
            deployments=(*row.state.deployments, *row.waiting),
            intents=tuple(row.intents),
            rollback_points=self._rollback_points(row.state),
            line=self.line,
            places=self._places(agent) if any(d.status in WAITING for d in (*row.state.deployments, *row.waiting)) else Places(),
            lock=self.locks.get(agent),
        )

    async def commit(self, lease: Lease, commit: Commit, now: datetime) -> bool:
        row = self.rows.get(lease.agent)
        if row is None or row.lease != lease or lease.expires_at <= now:
            self.stale_commits += 1
            return False
        if not self._place_free(row, commit):
            self._give_back(row, now + timedelta(seconds=PLACE_RETRY_SECONDS))
            return False
        known = {d.deployment for d in commit.state.deployments}
        ended = {d.deployment: d for d in commit.state.deployments if d.terminal}
        if ended:
            self.history |= ended
            self._history_of.setdefault(lease.agent, {}).update(ended)
        running = tuple(d for d in commit.state.deployments if not d.terminal)
        # Releases are the services' to write; one may have come since this state was loaded.
        patch = commit.state.patch
        layers = {**row.state.layers, **({patch.revision: patch.layers} if patch is not None else {})}
        row.state = replace(
            commit.state,
            deployments=running,
            intents=(),
            releases=row.state.releases,
            layers=layers,
            patch=patch if patch is not None and patch.live else None,
        )
        if patch is not None:
            self.patches[lease.agent, patch.revision] = patch
        if row.asked is not None:
            row.state, row.asked = replace(row.state, patch=row.asked), None
        if row.waiting:
            row.waiting = [d for d in row.waiting if d.deployment not in known]
        if row.intents:
            row.intents = [i for i in row.intents if i.intent not in commit.intents_done]
        self._give_back(row, commit.next_at)
        self.events.extend(commit.events)
        for each in commit.blocks:
            self.blocks.setdefault(each.deployment, []).append(each)
        if commit.state.agent.status is AgentStatus.REMOVED:
            del self.rows[lease.agent]
        return True

    async def release(self, lease: Lease, *, next_at: datetime) -> bool:
        row = self.rows.get(lease.agent)
        if row is None or row.lease != lease:
            return False
        self._give_back(row, next_at)
        return True

    @property
    def _limit(self) -> int:
        chosen = self.line.max_concurrent_deployments
        return self.max_concurrent_deployments if chosen is None else chosen

    def _under_way(self) -> list[str]:
        return [d.deployment for r in self.rows.values() for d in r.state.deployments if d.active and d.kind in PLACED]

    def _places(self, agent: str) -> Places:
        since = {
            (d.place_since, name)
            for name, r in self.rows.items()
            for d in (*r.state.deployments, *r.waiting)
            if d.place_since is not None and d.status in WAITING
        }
        mine = min((each for each in since if each[1] == agent), default=None)
        before = {name for began, name in since if name != agent and (mine is None or (began, name) < mine)}
        return Places(limit=self._limit, under_way=len(self._under_way()), before=len(before))

    def _place_free(self, row: Row, commit: Commit) -> bool:
        waited = {d.deployment for d in (*row.state.deployments, *row.waiting) if d.status in WAITING}
        begun = [d for d in commit.state.deployments if d.active and d.kind in PLACED and d.deployment in waited]
        return not begun or self._limit <= 0 or len(self._under_way()) + len(begun) <= self._limit

    async def wake(self, agents: Collection[str] | None, now: datetime) -> None:
        for agent in list(self.rows if agents is None else agents):
            if agent in self.rows:
                self._wake(agent, now)

    async def next_due(self) -> datetime | None:
        return self._next()

    def _wake(self, agent: str, now: datetime) -> None:
        row = self.rows[agent]
        row.due_at, row.woken = now, True
        self._put(agent)

    def _give_back(self, row: Row, next_at: datetime) -> None:
        row.due_at, row.lease = row.due_at if row.woken else next_at, None
        self._put(row.state.agent.agent)

    def _put(self, agent: str) -> None:
        heapq.heappush(self._order, (self.rows[agent].free_at, agent))

    def _next(self) -> datetime | None:
        """When the first row is free; entries that are no longer true are dropped on the way."""
        while self._order:
            free_at, agent = self._order[0]
            row = self.rows.get(agent)
            if row is not None and row.free_at == free_at:
                return free_at
            heapq.heappop(self._order)
        return None

    def _rollback_points(self, state: AgentState) -> tuple[str, ...]:
        mine = self._history_of.get(state.agent.agent, {}).values()
        done = [d for d in mine if d.status is DeploymentStatus.COMPLETED and d.finished_at is not None]
        order = sorted(done, key=lambda d: (d.finished_at, d.deployment), reverse=True)
        versions = dict.fromkeys(d.to_version for d in order if d.to_version != state.agent.version)
        return tuple(versions)[:ROLLBACK_POINTS]
