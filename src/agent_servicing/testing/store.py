"""The `Store` port in memory: leases, fencing and one event log, for engine tests and simulation. Keeps frozen values, so nothing leaks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

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


@dataclass(slots=True)
class MemoryStore:
    """`add`, `request` and `intend` stand for the services that write beside the engine."""

    ids: Ids
    rows: dict[str, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    history: dict[str, Deployment] = field(default_factory=dict)
    line: Line = field(default_factory=Line)
    locks: dict[str, Lock] = field(default_factory=dict)
    max_concurrent_deployments: int = 0
    stale_commits: int = 0

    def add(self, state: AgentState, now: datetime) -> None:
        self.rows[state.agent.agent] = Row(state, due_at=now)

    def request(self, deployment: Deployment, release: Release, now: datetime) -> None:
        row = self.rows[deployment.agent]
        row.waiting.append(deployment)
        row.state = replace(row.state, releases={**row.state.releases, release.version: release})
        row.due_at, row.woken = now, True

    def intend(self, intent: Intent, now: datetime) -> None:
        row = self.rows[intent.agent]
        row.intents.append(intent)
        row.due_at, row.woken = now, True

    async def claim(self, now: datetime, *, lease_seconds: float, limit: int) -> Sequence[Lease]:
        free = [(r.due_at, a, r) for a, r in self.rows.items() if r.due_at <= now and (r.lease is None or r.lease.expires_at <= now)]
        leases = []
        for _, agent, row in sorted(free, key=lambda item: item[:2])[:limit]:
            row.lease = Lease(agent=agent, token=self.ids.token(), expires_at=now + timedelta(seconds=lease_seconds))
            row.woken = False
            leases.append(row.lease)
        return leases

    async def load(self, agent: str) -> AgentState:
        row = self.rows.get(agent)
        if row is None:
            raise PermanentError(f"there is no agent {agent}")
        return replace(
            row.state,
            deployments=(*row.state.deployments, *row.waiting),
            intents=tuple(row.intents),
            rollback_points=self._rollback_points(row.state),
            line=self.line,
            places=self._places(agent),
            lock=self.locks.get(agent),
        )

    async def commit(self, lease: Lease, commit: Commit, now: datetime) -> bool:
        row = self.rows.get(lease.agent)
        if row is None or row.lease != lease or lease.expires_at <= now:
            self.stale_commits += 1
            return False
        if not self._place_free(row, commit):
            row.due_at, row.lease = now + timedelta(seconds=PLACE_RETRY_SECONDS), None
            return False
        known = {d.deployment for d in commit.state.deployments}
        self.history |= {d.deployment: d for d in commit.state.deployments if d.terminal}
        running = tuple(d for d in commit.state.deployments if not d.terminal)
        # Releases are the services' to write; one may have come since this state was loaded.
        row.state = replace(commit.state, deployments=running, intents=(), releases=row.state.releases)
        row.waiting = [d for d in row.waiting if d.deployment not in known]
        row.intents = [i for i in row.intents if i.intent not in commit.intents_done]
        _give_back(row, commit.next_at)
        self.events.extend(commit.events)
        if commit.state.agent.status is AgentStatus.REMOVED:
            del self.rows[lease.agent]
        return True

    async def release(self, lease: Lease, *, next_at: datetime) -> None:
        row = self.rows.get(lease.agent)
        if row is not None and row.lease == lease:
            _give_back(row, next_at)

    async def next_due(self) -> datetime | None:
        return min((max(r.due_at, r.lease.expires_at) if r.lease else r.due_at for r in self.rows.values()), default=None)

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

    def _rollback_points(self, state: AgentState) -> tuple[str, ...]:
        mine = (d for d in self.history.values() if d.agent == state.agent.agent)
        done = [d for d in mine if d.status is DeploymentStatus.COMPLETED and d.finished_at is not None]
        order = sorted(done, key=lambda d: (d.finished_at, d.deployment), reverse=True)
        versions = dict.fromkeys(d.to_version for d in order if d.to_version != state.agent.version)
        return tuple(versions)[:ROLLBACK_POINTS]


def _give_back(row: Row, next_at: datetime) -> None:
    """A wake-up that came while the lease was held stays."""
    row.lease = None
    if not row.woken:
        row.due_at = next_at
