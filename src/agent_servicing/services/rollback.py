"""Rollback: back to an earlier version, at once. Called by `web`; never blocked by a pause, a queue or an upgrade under way."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound, PermanentError, ServicingError, Unavailable
from agent_servicing.core.manifest import StateSpec
from agent_servicing.core.model import AgentState, Deployment, DeploymentSpec
from agent_servicing.core.standing import Standing
from agent_servicing.core.state import Door, SavedState, Written, conversion, door, readable
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.core.strategies import STRATEGIES
from agent_servicing.core.versions import parse
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.ports.state import SetAsides, Snapshots
from agent_servicing.services.agent_upgrade import requested
from agent_servicing.services.planning import QUEUE_MAX, describe_holder
from agent_servicing.services.returning import choices, chosen_snapshot
from agent_servicing.services.stage_words import sentence as stage_sentence
from agent_servicing.services.transaction import TOPIC, check_agent, checked_reason, record, require_active
from agent_servicing.services.views import PlannedStage, RollbackPlan
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment, left_with
from agent_servicing.store.queries import VersionRow

StateChoice = Literal["keep", "restore"]

SET_ASIDE_MAX: Final = 10
"""States left behind by restores; each is a whole folder on the disk, and only a person knows when nobody needs it any more."""


class Rollback:
    """One use case. The engine starts a rollback before anything that waits, and takes back an upgrade under way for it."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        bus: EventBus,
        settings: Settings,
        snapshots: Snapshots | None = None,
        asides: SetAsides | None = None,
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._snapshots, self._asides = snapshots, asides

    async def request(
        self,
        agent: str,
        *,
        target_version: str | None,
        reason: str,
        actor: str,
        state: StateChoice | None = None,
        snapshot: str | None = None,
        config: Literal["keep", "restore"] = "restore",
        override_withdrawn: bool = False,
        if_state: str | None = None,
        if_version: str | None = None,
    ) -> Deployment:
        """Queue a rollback (`rbk-…`) to `target_version`; the engine puts it before everything else.

        `target_version` None is the previous version or, while an upgrade is under way, the one it would replace. `config`: whether the
        version gets the configuration back that it had, or the one that is in force now. `state` "restore" puts `snapshot` back, None being
        the newest that the version left; the version that serves can be given one as well. A withdrawn version is passed over, and brought
        back only with `override_withdrawn`, for emergencies; that stands in the audit.
        Raises NotFound `unknown_version`, `unknown_snapshot` and Conflict `not_a_rollback_point` / `no_rollback_point`, each naming the valid
        points; Conflict `already_requested` when a rollback goes there already, `state_mismatch` and `version_mismatch` when the agent is
        not as the caller saw it (`if_version` is the version that serves); Conflict `state_choice_needed` when `state` is None and the version
        gone back to cannot read what is there; Conflict `version_withdrawn`, `no_state`, `no_snapshot`, `snapshot_unreadable`,
        `too_many_set_aside`; Invalid `reason_missing`, `snapshot_without_restore`.
        """
        reason = checked_reason(reason, needed=True)
        kept = await self._kept(agent, state, snapshot)
        async with self._database.write() as connection:
            held = await require_active(connection, agent)
            check_agent(held, if_state=if_state, if_version=if_version)
            rows = await queries.version_rows(connection, agent)
            target = _target(held, rows, target_version, restores=state == "restore", withdrawn_too=override_withdrawn)
            _check_door(held, rows, target, state)
            _check_queue(held, target)
            deployment = Deployment(
                deployment=self._ids.new("rbk"),
                agent=agent,
                kind=DeploymentKind.ROLLBACK,
                from_version=_leaving(held) or held.agent.version,
                to_version=target,
                spec=self._spec(held, rows, target, state, kept, snapshot),
                reason=reason,
                actor=actor,
                requested_at=self._clock.now(),
                status=DeploymentStatus.QUEUED,
                config=await left_with(connection, agent, target) if config == "restore" and target != held.agent.version else None,
            )
            await insert_deployment(connection, deployment)
            choice = state or ("convert" if deployment.spec.convert is not None else "keep")
            more: dict[str, object] = {"snapshot": deployment.spec.restore} if deployment.spec.restore is not None else {}
            more |= {"override_withdrawn": True} if target in _withdrawn(held, rows) else {}
            event = requested(deployment, "rollback_requested", state=choice, config=config, state_door=_door(rows, deployment), **more)
            await record(connection, self._ids, self._settings, event)
            await queries.wake(connection, agent, now=deployment.requested_at)
        await self._bus.publish(TOPIC)
        return deployment

    async def plan(
        self,
        agent: str,
        *,
        target_version: str | None,
        state: StateChoice | None = None,
        snapshot: str | None = None,
        override_withdrawn: bool = False,
    ) -> RollbackPlan:
        """What a rollback would do, above all with what was written since the last snapshot. Nothing is written; counting may take a while.

        Raises what `request` does about the target and the snapshot.
        """
        kept = await self._kept(agent, "restore", snapshot)
        async with self._database.read() as connection:
            held = await require_active(connection, agent)
            rows = await queries.version_rows(connection, agent)
        target = _target(held, rows, target_version, restores=state == "restore", withdrawn_too=override_withdrawn)
        old, new = _specs(held, rows, target)
        base = None
        if snapshot is not None or (old.directory is not None and any(readable(old, saved.schema) for saved in kept)):
            base = chosen_snapshot(kept, snapshot, agent=agent, target=target, spec=old)
        written = await self._written(held, base)
        verdict, sentence = door(old, new)
        spec = self._spec(held, rows, target, state, kept, snapshot)
        stages = STRATEGIES["rollback"](spec, held.agent.instances)
        return RollbackPlan(
            agent=agent,
            from_version=_leaving(held) or held.agent.version,
            to_version=target,
            stages=tuple(PlannedStage(stage=stage.name, sentence=stage_sentence(stage, held, target)) for stage in stages),
            state_door=verdict,
            state_sentence=sentence,
            choice_needed=state is None and _needs_choice(held, target, verdict),
            snapshot=base.snapshot if base is not None else None,
            written=written,
            choices=choices(old, new, target=target, snapshot=base, written=written) if new.directory is not None else (),
        )

    async def _kept(self, agent: str, state: StateChoice | None, snapshot: str | None) -> Sequence[SavedState]:
        """The snapshots there are, where one is asked for. Read before any transaction begins."""
        if state != "restore":
            if snapshot is not None:
                error = FieldError(path="snapshot", message='a snapshot is put back with state "restore" only')
                raise Invalid("A snapshot was named, but none is to be restored.", errors=(error,), code="snapshot_without_restore")
            return ()
        if self._asides is not None and len(await self._asides.set_aside(agent)) >= SET_ASIDE_MAX:
            raise Conflict(
                f"{agent} has {SET_ASIDE_MAX} states that were set aside already.",
                hint="servicing state discard removes one that nobody needs any more.",
                code="too_many_set_aside",
            )
        return await self._snapshots.list(agent) if self._snapshots is not None else ()

    async def _written(self, held: AgentState, base: SavedState | None) -> Written | None:
        release = held.releases.get(held.agent.version or "")
        if base is None or release is None or release.manifest.state.directory is None or self._asides is None:
            return None
        try:
            return await self._asides.written(release, snapshot=base.snapshot, epoch=held.agent.epoch)
        except PermanentError as error:
            raise Unavailable(f"What was written since {base.snapshot} cannot be counted: {error}.", code="not_counted") from error

    def _spec(
        self,
        held: AgentState,
        rows: Sequence[VersionRow],
        target: str,
        state: StateChoice | None,
        kept: Sequence[SavedState],
        snapshot: str | None,
    ) -> DeploymentSpec:
        old, new = _specs(held, rows, target)
        restores = state == "restore"
        return DeploymentSpec(
            strategy="rollback",
            steps=(100.0,),
            monitor_seconds=0.0,
            keep_warm_seconds=self._settings.keep_warm_seconds,
            restore=chosen_snapshot(kept, snapshot, agent=held.agent.agent, target=target, spec=old).snapshot if restores else None,
            convert=conversion(old, new) if not restores and target != held.agent.version else None,
        )


def valid_points(state: AgentState) -> tuple[str, ...]:
    """Where one can go back to now, best first: while a newer version is being introduced, that is first of all the one that serves."""
    here = (state.agent.version,) if _leaving(state) is not None and state.agent.version else ()
    return (*here, *(version for version in state.rollback_points if version not in here))


def _leaving(state: AgentState) -> str | None:
    """The version an upgrade under way brings, which a rollback is meant to leave."""
    moving = (d for d in state.deployments if d.active and d.kind is DeploymentKind.UPGRADE)
    return next((d.to_version for d in moving), None)


def _target(state: AgentState, rows: Sequence[VersionRow], wanted: str | None, *, restores: bool, withdrawn_too: bool) -> str:
    points, agent = valid_points(state), state.agent.agent
    barred = {} if withdrawn_too else _withdrawn(state, rows)
    if wanted is None:
        if not points:
            raise Conflict(f"{agent} has no earlier version to go back to.", code="no_rollback_point")
        free = [point for point in points if point not in barred]
        if not free:
            raise _barred(points[0], barred, free)
        return free[0]
    version = str(parse(wanted))
    if version in points or (restores and version == state.agent.version):
        if version in barred:
            raise _barred(version, barred, [point for point in points if point not in barred])
        return version
    known = version == state.agent.version or any(row.version == version for row in rows)
    raise _refused(version, points, agent, known=known, running=version == state.agent.version)


def _withdrawn(state: AgentState, rows: Sequence[VersionRow]) -> dict[str, str]:
    """Why each withdrawn version is; without the one that serves, which an aborted upgrade leaves in its place."""
    withdrawn = (row for row in rows if row.standing is Standing.WITHDRAWN and row.version != state.agent.version)
    return {row.version: row.standing_reason for row in withdrawn}


def _barred(version: str, barred: Mapping[str, str], free: Sequence[str]) -> Conflict:
    others = f"Go to {', '.join(free)}, or in" if free else "In"
    hint = f"{others} an emergency ask again with override_withdrawn (--override-withdrawn)."
    message = f"{version} is withdrawn: {barred[version]}."
    return Conflict(message, hint=hint, code="version_withdrawn", rollback_points=list(free))


def _refused(version: str, points: Sequence[str], agent: str, *, known: bool, running: bool) -> ServicingError:
    hint = f"Valid rollback points: {', '.join(points)}." if points else f"{agent} has no rollback point yet."
    if not known:
        return NotFound(f"{agent} has no version {version}.", hint=hint, code="unknown_version", rollback_points=list(points))
    why = "is the version that is running" if running else "did not serve before, or too long ago"
    return Conflict(
        f"{version} is no rollback point of {agent}: it {why}.", hint=hint, code="not_a_rollback_point", rollback_points=list(points)
    )


def _check_queue(state: AgentState, target: str) -> None:
    for other in state.deployments:
        going = other.kind is DeploymentKind.ROLLBACK and other.status is not DeploymentStatus.ROLLING_BACK
        if going and other.to_version == target:
            raise Conflict(f"{describe_holder(other)} goes there already.", code="already_requested", deployment=other)
    if len(state.deployments) >= 2 * QUEUE_MAX:
        # Twice the limit of upgrades, so that a full queue of those never keeps a rollback out.
        raise Conflict(f"{len(state.deployments)} deployments are waiting for {state.agent.agent} already.", code="queue_full")


def _check_door(state: AgentState, rows: Sequence[VersionRow], target: str, choice: str | None) -> None:
    """Only what a person asks for is asked back, and only where the manifests say that it cannot be read: automatic returns go on without a
    choice, and so does taking back an upgrade whose old version still serves. Raises Conflict `state_choice_needed`.
    """
    old, new = _specs(state, rows, target)
    verdict, sentence = door(old, new)
    if choice is None and _needs_choice(state, target, verdict):
        raise Conflict(
            f"{target} may not be able to use the state as it is now: {sentence}.",
            hint='Say state "keep" (--state keep) to go back and leave it as it is, or "restore" to put back the snapshot that was taken '
            "before the upgrade; with dry_run (--dry-run) both are told in numbers.",
            code="state_choice_needed",
            state_door=verdict,
        )


def _needs_choice(state: AgentState, target: str, verdict: Door) -> bool:
    return target != state.agent.version and verdict == "one_way"


def _specs(state: AgentState, rows: Sequence[VersionRow], target: str) -> tuple[StateSpec, StateSpec]:
    """How the version gone back to and the one that leaves keep their state."""
    specs = {row.version: row.manifest.state for row in rows}
    return specs.get(target, StateSpec()), specs.get(_leaving(state) or state.agent.version or "", StateSpec())


def _door(rows: Sequence[VersionRow], deployment: Deployment) -> str:
    states = {row.version: row.manifest.state for row in rows}
    old, new = states.get(deployment.to_version), states.get(deployment.from_version or "")
    return door(old, new)[0] if old and new else "unknown"
