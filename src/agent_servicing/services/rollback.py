"""Rollback: back to an earlier version, at once. Called by `web`; never blocked by a pause, a queue or an upgrade under way."""

from collections.abc import Sequence
from typing import Literal

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound, ServicingError
from agent_servicing.core.model import AgentState, Deployment, DeploymentSpec
from agent_servicing.core.state import door
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.core.versions import parse
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.agent_upgrade import requested
from agent_servicing.services.planning import QUEUE_MAX, describe_holder
from agent_servicing.services.transaction import TOPIC, check_agent, checked_reason, record, require_active
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment, left_with
from agent_servicing.store.queries import VersionRow


class Rollback:
    """One use case. The engine starts a rollback before anything that waits, and takes back an upgrade under way for it."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def request(
        self,
        agent: str,
        *,
        target_version: str | None,
        reason: str,
        actor: str,
        state: Literal["keep", "restore"] | None = None,
        config: Literal["keep", "restore"] = "restore",
        if_state: str | None = None,
        if_version: str | None = None,
    ) -> Deployment:
        """Queue a rollback (`rbk-…`) to `target_version`; the engine puts it before everything else.

        `target_version` None is the previous version or, while an upgrade is under way, the one it would replace. `config`: whether the
        version gets the configuration back that it had, or the one that is in force now.
        Raises NotFound `unknown_version` and Conflict `not_a_rollback_point` / `no_rollback_point`, each naming the valid points;
        Conflict `already_requested` when a rollback goes there already, `state_mismatch` and `version_mismatch` when the agent is not as the
        caller saw it (`if_version` is the version that serves); Conflict `state_choice_needed` when
        `state` is None and the version gone back to may not be able to read what is there; Invalid `reason_missing`,
        `state_restore_unavailable`.
        """
        reason = checked_reason(reason, needed=True)
        if state == "restore":
            error = FieldError(path="state", message="only keep is possible: snapshots are taken and rehearsed, and put back by hand")
            raise Invalid("State cannot be restored yet.", errors=(error,), code="state_restore_unavailable")
        async with self._database.write() as connection:
            held = await require_active(connection, agent)
            check_agent(held, if_state=if_state, if_version=if_version)
            rows = await queries.version_rows(connection, agent)
            target = _target(held, rows, target_version)
            _check_door(held, rows, target, state)
            _check_queue(held, target)
            deployment = Deployment(
                deployment=self._ids.new("rbk"),
                agent=agent,
                kind=DeploymentKind.ROLLBACK,
                from_version=_leaving(held) or held.agent.version,
                to_version=target,
                spec=DeploymentSpec(
                    strategy="rollback", steps=(100.0,), monitor_seconds=0.0, keep_warm_seconds=self._settings.keep_warm_seconds
                ),
                reason=reason,
                actor=actor,
                requested_at=self._clock.now(),
                status=DeploymentStatus.QUEUED,
                config=await left_with(connection, agent, target) if config == "restore" and target != held.agent.version else None,
            )
            await insert_deployment(connection, deployment)
            event = requested(deployment, "rollback_requested", state=state or "keep", config=config, state_door=_door(rows, deployment))
            await record(connection, self._ids, self._settings, event)
            await queries.wake(connection, agent, now=deployment.requested_at)
        await self._bus.publish(TOPIC)
        return deployment


def valid_points(state: AgentState) -> tuple[str, ...]:
    """Where one can go back to now, best first: while a newer version is being introduced, that is first of all the one that serves."""
    here = (state.agent.version,) if _leaving(state) is not None and state.agent.version else ()
    return (*here, *(version for version in state.rollback_points if version not in here))


def _leaving(state: AgentState) -> str | None:
    """The version an upgrade under way brings, which a rollback is meant to leave."""
    moving = (d for d in state.deployments if d.active and d.kind is DeploymentKind.UPGRADE)
    return next((d.to_version for d in moving), None)


def _target(state: AgentState, rows: Sequence[VersionRow], wanted: str | None) -> str:
    points, agent = valid_points(state), state.agent.agent
    if wanted is None:
        if not points:
            raise Conflict(f"{agent} has no earlier version to go back to.", code="no_rollback_point")
        return points[0]
    version = str(parse(wanted))
    if version in points:
        return version
    known = version == state.agent.version or any(row.version == version for row in rows)
    raise _refused(version, points, agent, known=known, running=version == state.agent.version)


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
    """Only what a person asks for is asked back, and only where the manifests say that state is at stake: automatic returns go on without a
    choice, and so does taking back an upgrade whose old version still serves. Raises Conflict `state_choice_needed`.
    """
    if target == state.agent.version:
        return
    specs = {row.version: row.manifest.state for row in rows}
    old, new = specs.get(target), specs.get(_leaving(state) or state.agent.version or "")
    if choice is not None or old is None or new is None:
        return
    verdict, sentence = door(old, new)
    if verdict not in ("two_way", "unknown"):
        raise Conflict(
            f"{target} may not be able to use the state as it is now: {sentence}.",
            hint='Say state "keep" (--state keep) to go back all the same: the state stays as it is. servicing state show lists the snapshots.',
            code="state_choice_needed",
            state_door=verdict,
        )


def _door(rows: Sequence[VersionRow], deployment: Deployment) -> str:
    states = {row.version: row.manifest.state for row in rows}
    old, new = states.get(deployment.to_version), states.get(deployment.from_version or "")
    return door(old, new)[0] if old and new else "unknown"
