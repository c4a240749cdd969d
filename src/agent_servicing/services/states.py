"""What an agent keeps, whether one can come back to each earlier version with it, and the copies there are. The API and the command line call it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_servicing.core.errors import Conflict, Invalid, NotFound, PermanentError
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import StateSpec
from agent_servicing.core.model import AgentState, Process, Release
from agent_servicing.core.state import Door, SavedState, SetAsideState, door
from agent_servicing.core.status import InstanceStatus
from agent_servicing.ports import Clock, Ids, Runtime
from agent_servicing.ports.state import SetAsides, Snapshots
from agent_servicing.services.transaction import checked_reason, record, require_active, require_state
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database

PINNED_MAX: Final = 10
"""Copies somebody asked for stay until somebody removes them; each may keep a whole state on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """The door between the version that serves and an earlier one."""

    version: str
    door: Door
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStateView:
    """`spec` None: nothing is installed yet."""

    agent: str
    version: str | None
    spec: StateSpec | None
    epoch: int
    ways_back: tuple[WayBack, ...]
    set_aside: tuple[SetAsideState, ...]
    snapshots: tuple[SavedState, ...]


class AgentStates:
    """Reads what is kept, and takes, tries and removes copies of it. `snapshots` None: this server cannot."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        settings: Settings,
        snapshots: Snapshots | None,
        asides: SetAsides | None,
        runtime: Runtime,
    ) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._snapshots, self._asides, self._runtime = snapshots, asides, runtime

    async def show(self, agent: str) -> AgentStateView:
        """Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            specs = {row.version: row.manifest.state for row in await queries.version_rows(connection, agent)}
        current = specs.get(state.agent.version or "")
        ways = [(v, *door(specs[v], current)) for v in state.rollback_points if v in specs] if current is not None else []
        return AgentStateView(
            agent=agent,
            version=state.agent.version,
            spec=current,
            epoch=state.agent.epoch,
            set_aside=tuple(await self._asides.set_aside(agent)) if self._asides is not None else (),
            ways_back=tuple(WayBack(version=version, door=verdict, sentence=sentence) for version, verdict, sentence in ways),
            snapshots=tuple(await self._saved(agent)),
        )

    async def snapshot(self, agent: str, *, reason: str, actor: str) -> str:
        """Begin a copy that stays until it is removed; its name.

        Raises Conflict `no_state` when the version that serves keeps none, `too_many_snapshots`; Invalid `reason_missing`.
        """
        reason = checked_reason(reason, needed=True)
        snapshots = self._driver()
        if sum(saved.pinned for saved in await self._saved(agent)) >= PINNED_MAX:
            raise Conflict(
                f"{agent} has {PINNED_MAX} snapshots that were asked for already.", hint="Remove one.", code="too_many_snapshots"
            )
        name = self._ids.new("snp")
        async with self._database.write() as connection:
            state = await require_active(connection, agent)
            release = _serving(state)
            data = {"snapshot": name, "version": release.version, "status": "requested"}
            event = Event(type="snapshot_requested", at=self._clock.now(), agent=agent, actor=actor, reason=reason, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        await snapshots.begin(release, key=name, pinned=True, epoch=state.agent.epoch, exporters=await self._ready(state))
        return name

    async def rehearse(self, agent: str, snapshot: str, *, actor: str) -> SavedState:
        """Restore it into a scratch folder and check it. Raises NotFound `unknown_snapshot`, Conflict `rehearsal_impossible`."""
        snapshots = self._driver()
        await self._require(agent, snapshot)
        try:
            saved = await snapshots.rehearse(agent, snapshot)
        except PermanentError as error:
            raise Conflict(f"{snapshot} could not be rehearsed: {error}.", code="rehearsal_impossible") from error
        result = saved.rehearsal
        data: dict[str, object] = {"snapshot": snapshot}
        if result is not None:
            data |= {
                "passed": result.passed,
                "seconds": result.seconds,
                "detail": result.detail,
                "status": "success" if result.passed else "failed",
            }
        await self._tell("snapshot_rehearsed", agent, actor, data)
        return saved

    async def unpack(self, agent: str, snapshot: str, *, actor: str, reason: str = "") -> str:
        """Restore it into a folder of the server beside the state; that folder. Raises NotFound `unknown_snapshot`, Conflict `not_unpacked`."""
        snapshots, reason = self._driver(), checked_reason(reason)
        await self._require(agent, snapshot)
        try:
            folder = await snapshots.unpack(agent, snapshot)
        except PermanentError as error:
            raise Conflict(f"{snapshot} was not unpacked: {error}.", code="not_unpacked") from error
        await self._tell("snapshot_unpacked", agent, actor, {"snapshot": snapshot, "folder": folder}, reason=reason)
        return folder

    async def remove(self, agent: str, snapshot: str, *, actor: str, reason: str = "") -> None:
        """Raises NotFound `unknown_snapshot`."""
        snapshots, reason = self._driver(), checked_reason(reason)
        await self._require(agent, snapshot)
        await self._tell("snapshot_removed", agent, actor, {"snapshot": snapshot}, reason=reason)
        await snapshots.remove(agent, snapshot)

    async def records(self, agent: str, epoch: int, *, actor: str) -> Path:
        """The file of records that were set aside there, as JSON lines. Raises NotFound `unknown_set_aside`."""
        asides, found = await self._aside(agent, epoch)
        try:
            path = await asides.records(agent, epoch)
        except PermanentError as error:
            raise _unknown(agent, epoch) from error
        await self._tell("set_aside_exported", agent, actor, {"epoch": epoch, "records": found.written.records})
        return path

    async def offer(self, agent: str, epoch: int, *, actor: str, reason: str = "") -> SetAsideState:
        """Offer what was set aside to the version that serves. Raises NotFound `unknown_set_aside`, Conflict `nobody_takes_in`."""
        reason = checked_reason(reason)
        asides, before = await self._aside(agent, epoch)
        async with self._database.read() as connection:
            state = await require_active(connection, agent)
        release, takers = await self._takers(state)
        after = await asides.offer(release, epoch, takers=takers)
        data: dict[str, object] = {"epoch": epoch, "kept": after.kept - before.kept, "set_aside": after.set_aside, "detail": after.detail}
        await self._tell("set_aside_offered", agent, actor, data, reason=reason)
        return after

    async def bring(self, agent: str, snapshot: str, *, reason: str, actor: str) -> tuple[int, int]:
        """Offer what the agent had exported for a snapshot to the version that serves; how many records were taken and refused.

        Raises NotFound `unknown_snapshot`, Conflict `nobody_takes_in`, `nothing_to_bring`, Invalid `reason_missing`.
        """
        reason = checked_reason(reason, needed=True)
        await self._require(agent, snapshot)
        async with self._database.read() as connection:
            state = await require_active(connection, agent)
        release, takers = await self._takers(state)
        if self._asides is None:
            raise Invalid("This server takes no snapshots.", code="no_snapshots")
        try:
            taken, refused = await self._asides.bring(release, snapshot=snapshot, takers=takers)
        except PermanentError as error:
            raise Conflict(f"Nothing was brought: {error}.", code="nothing_to_bring") from error
        await self._tell("snapshot_brought", agent, actor, {"snapshot": snapshot, "taken": taken, "refused": refused}, reason=reason)
        return taken, refused

    async def _takers(self, state: AgentState) -> tuple[Release, Sequence[Process]]:
        release, takers = _serving(state), await self._ready(state)
        if not takers or release.manifest.config.reload != "sdk":
            raise Conflict(f"Nobody of {state.agent.agent} {release.version} can take records in.", code="nobody_takes_in")
        return release, takers

    async def _ready(self, state: AgentState) -> Sequence[Process]:
        there = await self._runtime.observe(state.agent.agent)
        ready = [i.instance for i in state.instances if i.status is InstanceStatus.READY and i.generation == state.agent.stable]
        return [there[name] for name in ready if name in there and there[name].alive]

    async def discard(self, agent: str, epoch: int, *, reason: str, actor: str) -> None:
        """Drop the records for good; the folder that was left stays. Raises NotFound `unknown_set_aside`, Invalid `reason_missing`."""
        reason = checked_reason(reason, needed=True)
        asides, found = await self._aside(agent, epoch)
        await self._tell("set_aside_discarded", agent, actor, {"epoch": epoch, "set_aside": found.set_aside}, reason=reason)
        await asides.discard(agent, epoch)

    async def _aside(self, agent: str, epoch: int) -> tuple[SetAsides, SetAsideState]:
        async with self._database.read() as connection:
            await require_state(connection, agent)
        if self._asides is None:
            raise _unknown(agent, epoch)
        found = next((each for each in await self._asides.set_aside(agent) if each.epoch == epoch), None)
        if found is None:
            raise _unknown(agent, epoch)
        return self._asides, found

    async def _require(self, agent: str, snapshot: str) -> None:
        async with self._database.read() as connection:
            await require_state(connection, agent)
        if all(saved.snapshot != snapshot for saved in await self._saved(agent)):
            raise NotFound(f"{agent} has no snapshot {snapshot}.", code="unknown_snapshot")

    async def _saved(self, agent: str) -> Sequence[SavedState]:
        return await self._snapshots.list(agent) if self._snapshots is not None else ()

    async def _tell(self, kind: str, agent: str, actor: str, data: dict[str, object], *, reason: str = "") -> None:
        async with self._database.write() as connection:
            event = Event(
                type=kind, at=self._clock.now(), agent=agent, actor=actor, reason=reason, audit=True, data={"status": "success", **data}
            )
            await record(connection, self._ids, self._settings, event)

    def _driver(self) -> Snapshots:
        if self._snapshots is None:
            raise Invalid("This server takes no snapshots.", code="no_snapshots")
        return self._snapshots


def _unknown(agent: str, epoch: int) -> NotFound:
    return NotFound(f"Nothing of {agent} was set aside as {epoch}.", code="unknown_set_aside")


def _serving(state: AgentState) -> Release:
    release = state.releases.get(state.agent.version or "")
    if release is None or release.manifest.state.directory is None:
        raise Conflict(f"{state.agent.agent} keeps no state: its manifest names no state directory.", code="no_state")
    return release
