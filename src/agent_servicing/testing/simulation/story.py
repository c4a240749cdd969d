"""One story: from a seed to a world, to what happens in it, to peace. Everything is drawn from the seed; nothing names a strategy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import ConfigSpec, ConversationKey, Drain, Health, Manifest, Run, Source
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.schedule import Line
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from agent_servicing.testing.simulation import watchers
from agent_servicing.testing.simulation.faults import Weather
from agent_servicing.testing.simulation.moments import Breach
from agent_servicing.testing.simulation.operators import Operators
from agent_servicing.testing.simulation.parts import Body, Temper
from agent_servicing.testing.simulation.patchers import KEY, Patchers
from agent_servicing.testing.simulation.planners import Planners
from agent_servicing.testing.simulation.site import Site
from agent_servicing.testing.simulation.world import World

PEACE_SECONDS = 1_800.0
"""Within so many virtual seconds after the last fault everything must have settled."""

PATIENCE_SECONDS = 40.0
"""In peace somebody resumes what is paused so often, unless a rollback waits: that must not need it."""

REST_SECONDS = 10.0
"""Until agents that need nothing are at rest: their last health checks have to be good."""

SET_RIGHT_SECONDS = 900.0
"""In peace a clock that was set back is set right after so long: scheduled starts and warm versions keep to the time of day."""

OUTAGES_SECONDS = (0.5, 3.0, 20.0)

JUMPS_SECONDS = (1.0, 5.0, 30.0, 100.0, 300.0, 3_600.0, 36_000.0)
"""By how much the wall clock is set, forward or back: a correction, an administrator, a wrong time zone."""


@dataclass(slots=True, kw_only=True)
class Climate:
    """What kind of story it is: how likely each kind of trouble is. Drawn first, so that peaceful and rough stories both occur."""

    calls: float
    outages: bool
    lies: bool
    falls: bool
    bad_versions: bool
    verbs: bool
    jumps: bool
    plans: bool
    pace_seconds: float
    length_seconds: float


class Story:
    """`await play()` returns the breach that ended it, None when every law held."""

    def __init__(self, seed: int, strategy: str | None = None, *, patches: bool = False) -> None:
        self.dice = dice = Random(f"{seed}/{strategy}")
        self.climate = _climate(dice)
        self.world = World(
            dice=dice,
            weather=Weather(dice=dice),
            engines=dice.choice([1, 1, 2]),
            rests=dice.random() < 0.4,
            configures=patches,
            limits=Limits(install_timeout_seconds=20.0, stop_grace_seconds=3.0, idle_interval_seconds=dice.choice([1.0, 2.0])),
        )
        self.world.router.busy_seconds = lambda: dice.choice([0.0, 0.0, 0.5, 4.0, 400.0])
        self.operators = Operators(world=self.world, dice=dice, strategy=strategy)
        self.planners = Planners(world=self.world, dice=dice, operators=self.operators)
        self.patchers = Patchers(world=self.world, dice=dice, operators=self.operators) if patches else None
        agents = dice.choice([1, 1, 1, 2])
        # Instances have names that are unique within their agent only, which is all that the channel here goes by.
        self.sites = [self._found(f"Agent{n + 1}") for n in range(1 if patches else agents)]

    async def play(self) -> Breach | None:
        world = self.world
        await self.install()
        if world.breach is None:
            world.weather.chance = self.climate.calls
            if self.climate.plans and self.climate.pace_seconds < 10:
                world.store.line = Line(max_concurrent_deployments=1)
            world.happen, world.next_happening = self.happen, world.seconds
            for site in self.sites:
                self._upgrade(site)
            await world.live(world.seconds + self.climate.length_seconds)
        if world.breach is None:
            await self.peace()
        return world.breach

    async def install(self) -> None:
        """The first version of each agent, undisturbed."""
        for site in self.sites:
            self.world.runtime.behaviours["1.0.0"] = Temper()
            spec = DeploymentSpec(strategy="install", steps=(100.0,), monitor_seconds=0.0)
            self.operators.request(site, DeploymentKind.INSTALL, "1.0.0", spec)
        for _ in range(60):
            if all(name in self.world.store.history for site in self.sites for name in site.asked):
                return
            await self.world.live(self.world.seconds + 1)

    def happen(self) -> float:
        """One thing happens; returns how long until the next."""
        climate, site = self.climate, self.dice.choice(self.sites)
        acts: list[tuple[float, Callable[[Site], object]]] = [
            (3, self._upgrade),
            (2, self.operators.roll_back),
            (1, self.operators.restart),
        ]
        if climate.verbs:
            acts += [(8, self.operators.press), (1, self.operators.scale), (0.1, self.operators.remove)]
        if climate.outages:
            acts += [(5, self._unplug)]
        if climate.lies:
            acts += [(4, self._lie)]
        if climate.falls:
            acts += [(4, self._fell)]
        if climate.jumps:
            acts += [(3, self._jump)]
        if climate.plans:
            acts += [(6, self.planners.act)]
        if self.patchers is not None:
            acts += [(10, self.patchers.act)]
        self.dice.choices([act for _, act in acts], [weight for weight, _ in acts])[0](site)
        return self.dice.expovariate(1 / climate.pace_seconds)

    async def peace(self) -> None:
        """Faults stop, what was wrong is mended, and everything has to settle."""
        world = self.world
        world.tell("peace")
        world.happen, world.next_happening = None, float("inf")
        world.weather.chance, world.weather.crash_at = 0.0, None
        self.mend()
        self.planners.open_everything()
        set_back = sum(min(jump.seconds, 0.0) for jump in world.jumps)
        if set_back < 0:
            world.later(SET_RIGHT_SECONDS, partial(world.jump, -set_back))
        end, resume_at, patience = world.seconds + PEACE_SECONDS, world.seconds + PATIENCE_SECONDS, 3
        while world.seconds < end and world.breach is None and not self.settled():
            if world.seconds >= resume_at:
                resume_at = world.seconds + PATIENCE_SECONDS
                patience -= 1
                self._resume_everything(patience)
            await world.live(world.seconds + 2)
        if world.rests and world.breach is None and self.settled():
            await self.disturb_the_rest()
        if world.breach is None:
            watchers.settled(world)

    async def disturb_the_rest(self) -> None:
        """Agents that settled come to rest; then one instance of each dies, and only the pulse can see it."""
        world, runtime = self.world, self.world.runtime
        await world.live(world.seconds + REST_SECONDS)
        for site in self.sites:
            alive = sorted(name for name in runtime.processes.get(site.agent, {}) if runtime.alive(site.agent, name))
            if alive and world.breach is None:
                runtime.fell(site.agent, self.dice.choice(alive))
        end = world.seconds + PATIENCE_SECONDS
        while world.seconds < end and world.breach is None:
            await world.live(world.seconds + 2)
            if self.settled():
                return

    def mend(self) -> None:
        world = self.world
        self._plug_in()
        if self.patchers is not None:
            self.patchers.mend()
        for version, temper in list(world.runtime.behaviours.items()):
            if isinstance(temper, Temper):
                world.runtime.behaviours[version] = replace(temper, crashes=False, lives=None, flaps=None)
        for body in world.runtime.bodies.values():
            body.sick = body.hung = False

    def settled(self) -> bool:
        rows = self.world.store.rows
        sites = [site for site in self.sites if site.agent not in rows or not rows[site.agent].intents]
        return len(sites) == len(self.sites) and not any(
            law(self.world, site, rows.get(site.agent)) for site in sites for law in watchers.ON_SETTLED
        )

    def _upgrade(self, site: Site) -> None:
        version = f"1.{site.versions}.0"
        if version not in self.world.runtime.behaviours:
            self.world.runtime.behaviours[version] = self._temper()
        self.operators.upgrade(site)

    def _temper(self) -> Temper:
        dice = self.dice
        temper = Temper(start=dice.choice([0.0, 0.0, 0.3, 3.0]), install=dice.choice([0.0, 0.0, 1.0]), ignores_sigterm=dice.random() < 0.2)
        if not self.climate.bad_versions or dice.random() < 0.4:
            return temper
        bad: list[Callable[[], Temper]] = [
            lambda: replace(temper, installs=False),
            lambda: replace(temper, healthy=False),
            lambda: replace(temper, crashes=True),
            lambda: replace(temper, install=60.0),
            lambda: replace(temper, start=200.0),
            lambda: replace(temper, lives=dice.choice([0.5, 4.0, 15.0])),
            lambda: replace(temper, flaps=dice.choice([1.0, 5.0])),
            lambda: replace(temper, error_share=dice.choice([0.02, 0.3, 1.0])),
            lambda: replace(temper, error_share=0.3),
            lambda: replace(temper, latency_ms=2_000.0),
        ]
        return dice.choice(bad)()

    def _unplug(self, _site: Site) -> None:
        part = self.dice.choice(["runtime", "router", "metrics"])
        seconds = self.dice.choice(OUTAGES_SECONDS)
        getattr(self.world, part).reachable = False
        self.world.tell(f"the {part} is out of reach for {seconds:g} s")
        self.world.later(seconds, self._plug_in)
        self.world.upset(seconds + 5)

    def _lie(self, _site: Site) -> None:
        world, dice = self.world, self.dice
        seconds = dice.choice(OUTAGES_SECONDS)
        lie = dice.choice(["late", "deaf", "stale", "reset"])
        if lie == "late":
            world.router.late = dice.choice([0.1, 1.0, 4.0])
        elif lie == "deaf":
            world.router.deaf = True
        elif lie == "stale":
            world.metrics.stale = True
        else:
            world.metrics.reset()
        world.tell(f"{lie} for {seconds:g} s")
        world.later(seconds, self._plug_in)
        world.upset(seconds + 5)

    def _jump(self, _site: Site) -> None:
        self.world.jump(self.dice.choice(JUMPS_SECONDS) * self.dice.choice([1, -1]))

    def _plug_in(self) -> None:
        world = self.world
        world.runtime.reachable = world.router.reachable = world.metrics.reachable = True
        world.router.late, world.router.deaf, world.metrics.stale = 0.0, False, False

    def _fell(self, site: Site) -> None:
        """An instance dies, turns sick, or hangs; now and then all of them do."""
        runtime, dice = self.world.runtime, self.dice
        alive = sorted(name for name in runtime.processes.get(site.agent, {}) if runtime.alive(site.agent, name))
        if not alive:
            return
        for name in alive if dice.random() < 0.1 else [dice.choice(alive)]:
            body = runtime.body(site.agent, name)
            how = dice.choice(["die", "die", "sick", "hang"])
            if how == "die" or body is None:
                runtime.fell(site.agent, name)
            else:
                runtime.hurt(body, hangs=how == "hang")
                self.world.later(dice.choice([1.0, 10.0]), partial(_heal, body))

    def _resume_everything(self, patience: int) -> None:
        """A watch without automatic rollback pauses again for ever; in the end somebody decides."""
        for site in self.sites:
            there = self.world.store.deployments(site.agent)
            if any(d.kind is DeploymentKind.ROLLBACK and not d.active for d in there):
                continue
            for deployment in there:
                if deployment.status is DeploymentStatus.PAUSED:
                    self.operators.intend(site, Verb.CANCEL if patience <= 0 else Verb.RESUME, deployment.deployment)

    def _found(self, name: str) -> Site:
        dice = self.dice
        manifest = Manifest(
            agent=name,
            source=Source(kind="path", location="/srv/agent"),
            run=Run(command=("serve",), instances=dice.choice([1, 2, 3])),
            health=Health(path="/healthz", startup_timeout_seconds=10.0),
            conversation_key=ConversationKey(kind="header", name="X-Conversation-Id") if dice.random() < 0.6 else None,
            config=ConfigSpec(defaults={KEY: 0}, reload="sdk") if self.patchers is not None else ConfigSpec(reload="sdk"),
            drain=Drain(timeout_seconds=3, stream_timeout_seconds=dice.choice([3, 8]), conversation_timeout_seconds=dice.choice([0, 10])),
        )
        return self.world.add(manifest, rate=dice.choice([0.0, 3.0, 50.0, 200.0]), conversations=dice.choice([0, 3, 8]))


def _heal(body: Body) -> None:
    body.sick = body.hung = False


def _climate(dice: Random) -> Climate:
    return Climate(
        calls=dice.choice([0.0, 0.0, 0.002, 0.01, 0.03]),
        outages=dice.random() < 0.4,
        lies=dice.random() < 0.4,
        falls=dice.random() < 0.4,
        bad_versions=dice.random() < 0.6,
        verbs=dice.random() < 0.7,
        jumps=dice.random() < 0.3,
        plans=dice.random() < 0.3,
        pace_seconds=dice.choice([1.0, 4.0, 12.0]),
        length_seconds=dice.choice([8.0, 20.0, 45.0]),
    )
