"""Hot patches: a change of an agent's configuration is checked, written down for the engine, and waited for. Called by `web`.

The engine leads the change through the instances (`core.config.rollout`); whether it may begin at all is decided in `config_planning`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.config.references import pointed
from agent_servicing.core.config.wanted import shown_name
from agent_servicing.core.errors import Conflict, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Deployment, DeploymentSpec
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services import config_views
from agent_servicing.services.agent_lock import require_free
from agent_servicing.services.agent_upgrade import requested
from agent_servicing.services.approvals import refuse_patch
from agent_servicing.services.config_checks import check_change
from agent_servicing.services.config_planning import Change, Planned, changed_layers, check_options, failure, look_seconds, plan_layers
from agent_servicing.services.config_secrets import put_away, refer
from agent_servicing.services.config_views import RevisionView, config_of, layers_in_force, revision_view, spec_of
from agent_servicing.services.secrets import Secrets
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_state, shown
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.config import insert_patch, layers_named, let_go, patches_of_version, revision_rows, revision_status
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment

WAIT_SECONDS: Final = 12.0
"""How long a request waits for its change. The quick profiles are through by then, one way or the other; the safe one goes on without it."""

POLL_SECONDS: Final = 0.05
"""A hint that was missed costs at most this."""

COMMITTED: Final = "events"
"""The topic on which the engine tells that it has written something."""

SETTLING: Final = frozenset({"preparing", "trying", "applying", "reverting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a change, or would. `status`: as of `RevisionView`, or unchanged, or planned for a dry run.

    `by`: hot_patch or rolling_restart.
    """

    agent: str
    config_version: str
    status: str
    by: str
    changes: Mapping[str, Mapping[str, object]]
    warnings: Sequence[str] = ()
    revision: RevisionView | None = None


class ConfigHotpatch:
    """Use cases on the configuration of one agent. `limitable`: the resources that the runtime can limit."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        bus: EventBus,
        settings: Settings,
        secrets: Secrets,
        limitable: Collection[str] = (),
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._secrets, self._limitable = secrets, frozenset(limitable)

    async def plan(self, agent: str, change: Change) -> Outcome:
        """What the change would do; nothing is written. Raises what `patch` raises, but for what only the instances can say."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            planned = await self._plan(connection, state, change)
        return _nothing_done(state, planned, "planned" if planned.changes else "unchanged")

    async def patch(self, agent: str, change: Change, *, actor: str, wait_seconds: float = WAIT_SECONDS) -> Outcome:
        """Have it done and say what became of it; after `wait_seconds` it goes on without the caller.

        Raises Invalid `empty_patch`, `bad_value`, `invalid_config` (every problem with its path), `schema_invalid`, `unknown_secret`;
        Conflict `config_changed` (somebody was first), `config_busy`, `agent_busy`, `agent_locked`, `config_refused` (with each instance's
        reason; nothing was applied), `config_reverted` (it was applied to some and taken back).
        """
        checked_reason(change.reason, needed=True)
        change = await self._without_plain(agent, change, actor)
        async with self._database.write() as connection:
            await refuse_patch(connection, agent)
            state = await require_free(connection, agent, actor, self._clock.now())
            planned = await self._plan(connection, state, change)
            if not planned.changes:
                return _nothing_done(state, planned, "unchanged")
            revision = await self._write(connection, state, planned, change, actor)
        return await self._settled(agent, planned, revision, wait_seconds)

    async def roll_back(self, agent: str, *, target: str | None, reason: str, actor: str, wait_seconds: float = WAIT_SECONDS) -> Outcome:
        """Bring back the content of an earlier revision, by default the one before, as a new revision; a change under way is taken back.

        Raises NotFound `unknown_revision`, Conflict `nothing_to_roll_back` and what `patch` raises.
        """
        change = Change(updates={}, reason=checked_reason(reason, needed=True))
        async with self._database.write() as connection:
            state = await require_free(connection, agent, actor, self._clock.now())
            if state.patch is not None and state.patch.open:
                outcome = await self._stop(connection, state, state.patch, change.reason, actor)
                await self._bus.publish(TOPIC)
                return outcome
            name, layers = await self._earlier(connection, state, target)
            rows = await queries.version_rows(connection, agent)
            planned = plan_layers(state, rows, layers, change, plain={})
            if not planned.changes:
                return _nothing_done(state, planned, "unchanged")
            revision = await self._write(connection, state, planned, change, actor, undo=name)
        return await self._settled(agent, planned, revision, wait_seconds)

    async def point(
        self, agent: str, secret: str, version: int, *, reason: str, actor: str, restart: bool, wait_seconds: float = WAIT_SECONDS
    ) -> Outcome:
        """Have the references of the configuration in force to this secret name this version of it.

        The status is `needs_restart`, and nothing is done, when only a rolling restart could bring it and `restart` does not ask for one.
        Raises what `patch` raises.
        """
        change = Change(updates={}, reason=checked_reason(reason, needed=True))
        async with self._database.write() as connection:
            now = self._clock.now()
            state = await require_free(connection, agent, actor, now)
            rows = await queries.version_rows(connection, agent)
            planned = plan_layers(state, rows, pointed(layers_in_force(state).without_expired(now), secret, version), change, plain={})
            if not planned.changes:
                return _nothing_done(state, planned, "unchanged")
            if planned.by == "rolling_restart" and not restart:
                return _nothing_done(state, planned, "needs_restart")
            revision = await self._write(connection, state, planned, change, actor)
        return await self._settled(agent, planned, revision, wait_seconds)

    async def revisions(self, agent: str, *, limit: int, before: int | None = None) -> Sequence[RevisionView]:
        """Every change ever asked for, newest first, those that were refused too. Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            return await self._views(connection, await require_state(connection, agent), limit=limit, before=before)

    async def newest(self, connection: AsyncConnection, state: AgentState) -> RevisionView | None:
        """The last change that was asked for, in a transaction of the caller's."""
        return next(iter(await self._views(connection, state, limit=1)), None)

    # --- deciding ------------------------------------------------------------------------------------------------------------------

    async def _plan(self, connection: AsyncConnection, state: AgentState, change: Change) -> Planned:
        check_change(change.updates)
        check_options(change, self._limitable)
        in_force = config_of(state)
        name = shown_name(state.agent.version, in_force)
        if change.parent is not None and change.parent not in (name, in_force):
            raise await self._changed_meanwhile(connection, state, change.parent, name)
        _, schema = spec_of(state, state.agent.version)
        referred = await refer(self._secrets, state.agent.agent, change.updates, schema)
        layers = changed_layers(layers_in_force(state), change, referred.values, self._clock.now())
        rows = await queries.version_rows(connection, state.agent.agent)
        return plan_layers(state, rows, layers, change, plain=referred.plain)

    async def _without_plain(self, agent: str, change: Change, actor: str) -> Change:
        """Secrets are put away before anything of the change is written, but only for a change that could be made."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            await refuse_patch(connection, agent)
            _, schema = spec_of(state, state.agent.version)
            referred = await refer(self._secrets, agent, change.updates, schema)
            if not referred.plain:
                return change
            await self._plan(connection, state, change)
        return replace(change, updates=await put_away(self._secrets, agent, referred, actor))

    async def _changed_meanwhile(self, connection: AsyncConnection, state: AgentState, seen: str, name: str) -> Conflict:
        """With what became different since the operator looked."""
        rows = await revision_rows(connection, state.agent.agent, limit=1, only=seen)
        spec, schema = spec_of(state, state.agent.version)
        then = rows[0].patch.layers if rows else Layers()
        difference = config_views.differences(spec, schema, then, layers_in_force(state))
        return Conflict(
            f"The configuration of {state.agent.agent} is {name} by now, not {seen}.",
            hint="Look at what changed, then send your change again on top of it.",
            code="config_changed",
            current={"config_version": name, "changes": difference},
        )

    async def _earlier(self, connection: AsyncConnection, state: AgentState, target: str | None) -> tuple[str, Layers]:
        agent, in_force = state.agent.agent, config_of(state)
        if target is None:
            rows = await revision_rows(connection, agent, limit=1, only=in_force) if in_force else []
            if not rows:
                raise Conflict(f"The configuration of {agent} was never patched.", code="nothing_to_roll_back")
            target = rows[0].patch.parent
        if target in ("", shown_name(state.agent.version, "")):
            return shown_name(state.agent.version, ""), Layers()
        rows = await revision_rows(connection, agent, limit=1, only=target)
        if not rows or rows[0].patch.status in (PatchStatus.REFUSED, PatchStatus.REVERTED):
            known = [r.patch.revision for r in await revision_rows(connection, agent, limit=20) if r.patch.status is PatchStatus.APPLIED]
            why = "was never in force" if rows else "does not exist"
            hint = f"Revisions: {shown(known)}." if known else ""
            raise NotFound(f"{target} {why} at {agent}.", hint=hint, code="unknown_revision")
        return target, rows[0].patch.layers

    # --- writing -------------------------------------------------------------------------------------------------------------------

    async def _write(
        self, connection: AsyncConnection, state: AgentState, planned: Planned, change: Change, actor: str, *, undo: str | None = None
    ) -> str:
        agent, version = state.agent.agent, state.agent.version or "none"
        now = self._clock.now()
        name = f"cfg-{version}-p{await patches_of_version(connection, agent, version) + 1}"
        restart = planned.by == "rolling_restart"
        patch = Patch(
            revision=name,
            parent=planned.parent,
            layers=planned.layers,
            profile=change.profile,
            actor=actor,
            reason=change.reason.strip(),
            requested_at=now,
            since=now,
            look_seconds=look_seconds(change),
            share_percent=change.share_percent,
            undo=undo,
            status=PatchStatus.RESTARTING if restart else PatchStatus.PREPARING,
            live=not restart,
        )
        await let_go(connection, agent)
        deployment = self._restart(state, patch, now) if restart else None
        asked = {"config_version": name, "config_changes": planned.changes}
        kind = "config_patch_requested"
        event = Event(
            type=kind,
            at=now,
            agent=agent,
            actor=actor,
            reason=patch.reason,
            audit=True,
            data={**asked, "status": "requested", "undo": undo},
        )
        if deployment is not None:
            await insert_deployment(connection, deployment)
            event = requested(deployment, kind, **asked)
        await record(connection, self._ids, self._settings, event)
        await insert_patch(connection, agent, patch, version=version, deployment=deployment.deployment if deployment else None)
        await queries.wake(connection, agent, now=now)
        return name

    def _restart(self, state: AgentState, patch: Patch, now: datetime) -> Deployment:
        return Deployment(
            deployment=self._ids.new("upg"),
            agent=state.agent.agent,
            kind=DeploymentKind.RESTART,
            from_version=state.agent.version,
            to_version=state.agent.version or "",
            spec=DeploymentSpec(strategy="restart", steps=(100.0,), monitor_seconds=0.0, keep_warm_seconds=0.0),
            reason=f"{patch.revision}: {patch.reason}",
            actor=patch.actor,
            requested_at=now,
            status=DeploymentStatus.QUEUED,
            config=patch.revision,
        )

    async def _stop(self, connection: AsyncConnection, state: AgentState, patch: Patch, reason: str, actor: str) -> Outcome:
        """Ask the engine to take back what is under way."""
        now = self._clock.now()
        await queries.add_intent(connection, state.agent.agent, Verb.REVERT_CONFIG, actor=actor, at=now, reason=reason)
        name = shown_name(state.agent.version, patch.parent)
        return Outcome(agent=state.agent.agent, config_version=name, status="reverting", by="hot_patch", changes={})

    # --- waiting -------------------------------------------------------------------------------------------------------------------

    async def _wait(self, agent: str, revision: str, seconds: float) -> RevisionView:
        """The change when it is settled, or as it stands after so long."""
        until = self._clock.monotonic() + seconds
        hints = self._bus.subscribe(COMMITTED)
        while True:
            async with self._database.read() as connection:
                settling = await revision_status(connection, agent, revision) in SETTLING
                if not settling or self._clock.monotonic() >= until:
                    return (await self._views(connection, await require_state(connection, agent), only=revision, limit=1))[0]
            with anyio.move_on_after(POLL_SECONDS):
                await anext(hints)

    async def _views(
        self, connection: AsyncConnection, state: AgentState, *, limit: int, before: int | None = None, only: str | None = None
    ) -> list[RevisionView]:
        agent = state.agent.agent
        rows = await revision_rows(connection, agent, before=before, limit=limit, only=only)
        parents = (await layers_named(connection, {agent: {row.patch.parent for row in rows}})).get(agent, {})
        views = []
        for row in rows:
            deployment = await queries.deployment(connection, row.deployment) if row.deployment else None
            views.append(revision_view(state, row, parents.get(row.patch.parent, Layers()), deployment))
        return views

    async def _settled(self, agent: str, planned: Planned, revision: str, seconds: float) -> Outcome:
        """Waits for it. Raises what became of it, when it became nothing."""
        await self._bus.publish(TOPIC)
        view = await self._wait(agent, revision, seconds)
        if view.status in ("refused", "reverted"):
            raise failure(agent, view)
        return Outcome(
            agent=agent,
            config_version=view.config_version,
            status=view.status,
            by=planned.by,
            changes=view.changes,
            warnings=planned.warnings,
            revision=view,
        )


def _nothing_done(state: AgentState, planned: Planned, status: str) -> Outcome:
    return Outcome(
        agent=state.agent.agent,
        config_version=shown_name(state.agent.version, config_of(state)),
        status=status,
        by=planned.by,
        changes=planned.changes,
        warnings=planned.warnings,
    )
