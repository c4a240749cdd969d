"""One engine turn for one agent: claim → observe → decide → act → commit. Called by the supervisor, as often as an agent is due.

The engine never sleeps inside a turn and never acts twice on one observation. Dying on any line is harmless: actions are idempotent, the
state is committed in one transaction guarded by the lease, and the next turn begins by looking at the world.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import assert_never

import anyio
import structlog

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.actions import (
    AbortConfig,
    Action,
    AnnounceDrain,
    ApplyRouting,
    BeginConversion,
    BeginRestore,
    BeginSetAside,
    BeginSnapshot,
    BeginVerification,
    CollectReleases,
    CommitConfig,
    EndVerification,
    ForgetInstance,
    LimitInstance,
    PrepareConfig,
    PrepareRelease,
    RemoveRouting,
    StartInstance,
    StopInstance,
)
from agent_servicing.core.config.enforced import enforced
from agent_servicing.core.config.layers import ConfigDocument, text_of
from agent_servicing.core.decide import decide
from agent_servicing.core.draft import Decision
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.limits import Limits
from agent_servicing.core.model import AgentState, Process, Snapshot
from agent_servicing.core.resources import UNLIMITED, Resources
from agent_servicing.core.rest import at_rest
from agent_servicing.core.schedule import OPEN, gate
from agent_servicing.core.status import WAITING
from agent_servicing.ports import (
    AgentClient,
    Clock,
    Commit,
    ConfigChannel,
    Lease,
    LimitsInstances,
    Masker,
    Metrics,
    Reports,
    Router,
    Runtime,
    Store,
    Verifier,
)
from agent_servicing.ports.state import Restores, Snapshots
from agent_servicing.reconcile.masking import Mask, masked
from agent_servicing.reconcile.observe import NOTHING_KNOWN, Observer, config_targets
from agent_servicing.reconcile.pulse import Pulse

log = structlog.get_logger(__name__)

PARKED_SECONDS = 30.0
"""A turn that failed for a reason of ours comes back after this; other agents are not held up."""

STALE_MARGIN = 0.5
"""Part of the lease after which no more action is begun: what is begun then still ends before another engine may take over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The turn and what it needs. One per server process. Without a `pulse` every agent gets a full turn each interval."""

    store: Store
    runtime: Runtime
    router: Router
    metrics: Metrics
    client: AgentClient
    clock: Clock
    limits: Limits
    action_timeout_seconds: float
    verifier: Verifier | None = None
    reports: Reports | None = None
    channel: ConfigChannel | None = None
    snapshots: Snapshots | None = None
    restores: Restores | None = None
    masker: Masker | None = None
    pulse: Pulse | None = None

    async def turn(self, lease: Lease) -> bool:
        """Reconcile one agent once and give the lease back; False when it had to be put off. Never raises for what one agent did wrong."""
        try:
            await self._turn(lease)
        except TemporaryError as error:
            log.warning("turn_postponed", agent=lease.agent, problem=str(error))
            await self._give_back(lease, error.retry_after_seconds)
        except Exception:  # one agent's failure, our own bugs included, must not stop the others: logged and parked
            log.exception("turn_failed", agent=lease.agent)
            await self._give_back(lease, PARKED_SECONDS)
        else:
            return True
        return False

    async def _turn(self, lease: Lease) -> None:
        until = self.clock.monotonic() + STALE_MARGIN * (lease.expires_at - self.clock.now()).total_seconds()
        state = await self.store.load(lease.agent)
        observer = Observer(
            runtime=self.runtime,
            router=self.router,
            metrics=self.metrics,
            client=self.client,
            clock=self.clock,
            verifier=self.verifier,
            reports=self.reports,
            channel=self.channel,
            snapshots=self.snapshots,
            restores=self.restores,
        )
        known = self.pulse.rouse(lease.agent) if self.pulse else NOTHING_KNOWN
        mask: Mask = partial(self.masker.mask, lease.agent) if self.masker else str
        world = masked(await observer.observe(state, known), mask)
        waits = any(d.status in WAITING for d in state.deployments)
        calendar = gate(state.line, state.agent.agent, world.at, CALENDAR) if waits else OPEN
        snapshot = Snapshot(state=state, world=world, gate=calendar)
        decision = decide(snapshot, self.limits)
        problem = await self._act(lease, state, decision.actions, until)
        problem = replace(problem, sentence=mask(problem.sentence)) if problem else None
        commit = _commit(decision, problem, self.clock)
        rest = at_rest(snapshot, decision, self.limits) if self.pulse and problem is None else None
        if self.pulse and rest:
            commit = replace(commit, next_at=self.pulse.next_turn_at(rest))
        if rest and not rest.changed:
            written = await self.store.release(lease, next_at=commit.next_at)
        else:
            written = await self.store.commit(lease, commit, self.clock.now())
        if not written:
            log.warning("stale_lease", agent=lease.agent)
        if self.pulse and rest and written:
            self.pulse.settle(rest)

    async def _act(self, lease: Lease, state: AgentState, actions: Sequence[Action], until: float) -> "Problem | None":
        """Each action with a deadline; the first failure ends the turn, because what follows may rest on it.

        None is begun from `until` on (monotonic): a clock that was set back meanwhile makes no lease longer, one set forward ends it.
        """

        def still_ours() -> None:
            if self.clock.monotonic() >= until or self.clock.now() >= lease.expires_at:
                raise TooLate

        for action in actions:
            try:
                still_ours()
                with anyio.fail_after(self.action_timeout_seconds):
                    await self._do(state, action, still_ours)
            except TooLate:
                return Problem(sentence="the turn took too long and was cut short", retry_after_seconds=0.0)
            except TimeoutError:
                return Problem(sentence=f"{type(action).__name__} took longer than {self.action_timeout_seconds:g} s")
            except TemporaryError as error:
                return Problem(sentence=str(error), retry_after_seconds=error.retry_after_seconds)
            except PermanentError as error:
                return Problem(sentence=str(error), retry_after_seconds=5.0)
        return None

    async def _do(self, state: AgentState, action: Action, still_ours: Callable[[], None] = lambda: None) -> None:
        """`still_ours` raises `TooLate`: asked once more by actions that have to look something up before they act."""
        match action:
            case PrepareRelease():
                await self.runtime.prepare(state.releases[action.version], again=action.again)
            case StartInstance():
                await self._start(state, action, still_ours)
            case LimitInstance():
                await self._limit(action.agent, action.instance, action.resources)
            case StopInstance():
                await self.runtime.stop(action.agent, action.instance, kill=action.kill)
            case ForgetInstance():
                await self._forget(action)
            case ApplyRouting() | RemoveRouting():
                await self._route(action)
            case CollectReleases():
                await self.runtime.collect(action.agent, keep=action.keep)
            case BeginVerification() | EndVerification() | BeginSnapshot() | BeginRestore() | BeginConversion() | BeginSetAside():
                await self._begin(state, action, still_ours)
            case PrepareConfig() | CommitConfig() | AbortConfig() | AnnounceDrain():
                await self._tell(state, action, still_ours)
            case _:
                assert_never(action)

    async def _start(self, state: AgentState, action: StartInstance, still_ours: Callable[[], None]) -> None:
        config = await self._render(action.agent, action.config)
        still_ours()
        await self.runtime.start(
            state.releases[action.version],
            instance=action.instance,
            generation=action.generation,
            config=config,
            revision=action.config.revision,
            epoch=action.epoch,
        )
        resources = enforced(action.config.around).resources
        if resources != UNLIMITED:
            # From its first moment. One that could not be limited is started all the same: the next turn sees it and tries again.
            with suppress(TemporaryError, PermanentError):
                await self._limit(action.agent, action.instance, resources)

    async def _forget(self, action: ForgetInstance) -> None:
        await self.runtime.forget(action.agent, action.instance)
        if self.channel is not None:
            await self.channel.forget(action.agent, action.instance)

    async def _limit(self, agent: str, instance: str, resources: Resources) -> None:
        if isinstance(self.runtime, LimitsInstances):
            await self.runtime.limit(agent, instance, resources)

    async def _route(self, action: ApplyRouting | RemoveRouting) -> None:
        if isinstance(action, ApplyRouting):
            await self.router.apply(action.routing)
        else:
            await self.router.remove(action.agent)

    async def _begin(
        self,
        state: AgentState,
        action: BeginVerification | EndVerification | BeginSnapshot | BeginRestore | BeginConversion | BeginSetAside,
        still_ours: Callable[[], None],
    ) -> None:
        """Long acts that are only begun here; how far they are is observed."""
        if isinstance(action, BeginVerification | EndVerification):
            await self._verify(state, action)
        else:
            await self._save(state, action, still_ours)

    async def _save(
        self, state: AgentState, action: BeginSnapshot | BeginRestore | BeginConversion | BeginSetAside, still_ours: Callable[[], None]
    ) -> None:
        if self.snapshots is None or self.restores is None:
            return
        release, key = state.releases[action.version], action.key
        running = [] if isinstance(action, BeginRestore) else await self._running(action)
        still_ours()
        match action:
            case BeginSnapshot():
                await self.snapshots.begin(release, key=key, epoch=action.epoch, exporters=running)
            case BeginRestore():
                await self.restores.restore(release, key=key, snapshot=action.snapshot, epoch=action.epoch)
            case BeginConversion():
                await self.restores.convert(release, key=key, schema=action.schema, processes=running)
            case BeginSetAside():
                takers = [each for each in running if state.releases[each.version].manifest.config.reload == "sdk"]
                await self.restores.count(
                    release, key=key, snapshot=action.snapshot, epoch=action.epoch, takers=takers, complete=action.complete
                )

    async def _running(self, action: BeginSnapshot | BeginConversion | BeginSetAside) -> Sequence[Process]:
        """Where the instances of this action are, as far as they still run."""
        there = await self.runtime.observe(action.agent)
        return [there[name] for name in action.instances if name in there and there[name].alive]

    async def _verify(self, state: AgentState, action: BeginVerification | EndVerification) -> None:
        if self.verifier is None:
            return
        if isinstance(action, BeginVerification):
            await self.verifier.begin(state.releases[action.version], key=action.key)
        else:
            await self.verifier.forget(action.key)

    async def _render(self, agent: str, document: ConfigDocument) -> str:
        return text_of(document.values) if self.channel is None else await self.channel.render(agent, document)

    async def _tell(
        self, state: AgentState, action: PrepareConfig | CommitConfig | AbortConfig | AnnounceDrain, still_ours: Callable[[], None]
    ) -> None:
        """What running instances are told: of a configuration, or of their end."""
        if isinstance(action, AnnounceDrain):
            await self._announce(state, action)
        else:
            await self._configure(state, action, still_ours)

    async def _configure(
        self, state: AgentState, action: PrepareConfig | CommitConfig | AbortConfig, still_ours: Callable[[], None]
    ) -> None:
        if self.channel is None:
            return
        targets = config_targets(state, await self.runtime.observe(action.agent), action.documents)
        still_ours()
        match action:
            case PrepareConfig():
                await self.channel.prepare(targets, deadline_seconds=action.deadline_seconds)
            case CommitConfig():
                await self.channel.commit(targets, deadline_seconds=action.deadline_seconds)
            case AbortConfig():
                await self.channel.abort(targets)

    async def _announce(self, state: AgentState, action: AnnounceDrain) -> None:
        """Also to instances that read their configuration only at their start: whoever is connected can hear."""
        if self.channel is None:
            return
        for name, goodbye in action.goodbyes.items():
            process = action.processes[name]
            release = state.releases.get(process.version)
            await self.channel.drain(release.manifest if release else state.agent.manifest, process, goodbye)

    async def _give_back(self, lease: Lease, seconds: float) -> None:
        try:
            await self.store.release(lease, next_at=self.clock.now() + timedelta(seconds=seconds))
        except TemporaryError as error:
            log.warning("lease_kept", agent=lease.agent, problem=str(error))


class TooLate(Exception):
    """The lease may be another's by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why the actions of this turn were not all done; shown with the deployment under way."""

    sentence: str
    retry_after_seconds: float = 1.0


def _commit(decision: Decision, problem: Problem | None, clock: Clock) -> Commit:
    wait = decision.next_in_seconds
    state = decision.state
    if problem is not None:
        log.warning("action_failed", agent=state.agent.agent, problem=problem.sentence)
        wait = max(wait, problem.retry_after_seconds)
        noted = tuple(replace(d, message=problem.sentence) if d.active and not d.message else d for d in state.deployments)
        state = replace(state, deployments=noted)
    return Commit(
        state=state,
        events=decision.events,
        intents_done=decision.intents_done,
        next_at=clock.now() + timedelta(seconds=wait),
        blocks=decision.blocks,
    )
