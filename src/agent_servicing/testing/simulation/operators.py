"""The operators of the simulated world: they press every button, sensible or not, with options drawn from the seed."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from random import Random
from typing import Any

from agent_servicing.core.analysis import Policy
from agent_servicing.core.model import AgentState, Deployment, DeploymentSpec, Intent, Release
from agent_servicing.core.status import WAITING, DeploymentKind, DeploymentStatus, Verb
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.simulation.site import Ask, Site
from agent_servicing.testing.simulation.world import World

WAITING_MAX = 5
"""Deployments that wait for one agent in a story; a longer queue only makes it longer."""

OPTIONS: dict[str, tuple[Any, ...]] = {
    "steps": ((100.0,), (50.0, 100.0), (25.0, 50.0, 100.0), (1.0, 100.0), (34.0, 100.0)),
    "percent": (1.0, 10.0, 34.0, 50.0, 100.0),
    "batch_size": (None, None, 1, 2),
    "batch_percent": (None, 34.0, 50.0),
    "monitor_seconds": (0.0, 2.0, 2.0, 6.0),
    "pause_seconds": (0.0, 0.0, 2.0),
    "bake_seconds": (0.0, 0.0, 3.0),
    "confirm_seconds": (None, None, None, 8.0),
    "control_percent": (0.0, 0.0, 5.0),
    "on_inconclusive": ("promote", "hold", "rollback"),
    "promote_early": (False, True),
    "verify": (False, False, True),
    "keep_warm_seconds": (0.0, 5.0, 30.0),
    "hold_seconds": (0.0, 5.0, 20.0),
}
"""Valid values of a specification's options; those that this version of the product does not know are left out."""

OF_AGENTS = (Verb.SCALE, Verb.REMOVE, Verb.REVERT_CONFIG)
VERBS = (*(verb for verb in Verb if verb not in OF_AGENTS), Verb.RESUME, Verb.PROMOTE)
"""What may be asked of a deployment; resumed and promoted more often, so that stories go on."""

_KNOWN = frozenset(f.name for f in fields(DeploymentSpec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When an upgrade is to begin: seconds from now, and how late it may be; by whom, whom freezes do not hold."""

    delay: float | None = None
    grace: float = 900.0
    override_freeze: bool = False
    actor: str = "somebody"


@dataclass(slots=True, kw_only=True)
class Operators:
    """Several people who do not talk to one another. `strategy` is the one that most upgrades use; None means all alike."""

    world: World
    dice: Random
    strategy: str | None = None
    snapshots: bool = False
    numbers: int = 0

    def upgrade(self, site: Site, **options: Any) -> str | None:
        """To a version nobody has run before. Options that are named are not drawn; a snapshot is asked for in every upgrade or in none."""
        if self._full(site):
            return None
        strategy = self.strategy if self.strategy is not None and self.dice.random() < 0.8 else self.dice.choice(sorted(UPGRADES))
        site.versions += 1
        spec = DeploymentSpec(strategy=strategy, policy=self._policy(), **self._options())
        delay = self.dice.choice([None] * 9 + [5.0])
        now = self.world.clock.now()
        if self.dice.random() < 0.1:
            options = {self.dice.choice(["bake_until", "confirm_until"]): now + timedelta(seconds=10), **options}
        spec = replace(spec, snapshot=self.snapshots, **options)
        if self.snapshots:
            spec = replace(spec, convert=self.dice.choice([None, 2]))
        plan = Plan(
            delay=delay,
            grace=self.dice.choice([2.0, 900.0]),
            override_freeze=self.dice.random() < 0.1,
            actor=self.dice.choice(["somebody", "somebody", "another"]),
        )
        return self.request(site, DeploymentKind.UPGRADE, f"1.{site.versions - 1}.0", spec, plan)

    def roll_back(self, site: Site) -> str | None:
        """To a valid point, and now and then to any version there ever was."""
        state = self._state(site)
        if state is None or self._full(site):
            return None
        moving = any(d.active and d.kind is DeploymentKind.UPGRADE for d in state.deployments)
        points = list(self.world.store.points(site.agent))
        if moving and state.agent.version:
            points.insert(0, state.agent.version)
        if self.dice.random() < 0.2:
            points.append(self.dice.choice(sorted(state.releases)))
        if not points:
            return None
        target, spec = self.dice.choice(points[:2] + points[-1:]), self._plain("rollback")
        return self.request(site, DeploymentKind.ROLLBACK, target, self._with_state(site, spec))

    def _with_state(self, site: Site, spec: DeploymentSpec) -> DeploymentSpec:
        """In stories about state: a snapshot is put back, or what was written is converted, or neither."""
        kept = sorted(key for agent, key in self.world.snapshots.runs if agent == site.agent) if self.snapshots else []
        if not kept:
            return spec
        choice = self.dice.choice(["keep", "restore", "restore", "convert"])
        return replace(spec, restore=self.dice.choice(kept) if choice == "restore" else None, convert=2 if choice == "convert" else None)

    def restart(self, site: Site) -> str | None:
        state = self._state(site)
        if state is None or state.agent.version is None or self._full(site):
            return None
        return self.request(site, DeploymentKind.RESTART, state.agent.version, self._plain("restart"))

    def press(self, site: Site, verb: Verb | None = None) -> None:
        """Pause, resume, promote, promote full or cancel, on whatever is there."""
        there = self.world.store.deployments(site.agent)
        if not there:
            return
        deployment = self.dice.choice(there)
        chosen = verb or self.dice.choice(VERBS)
        if chosen is Verb.CANCEL and deployment.status in WAITING:
            self.world.tell(f"{site.agent}: somebody cancels {deployment.deployment}, which waits")
            site.asked[deployment.deployment].closings += 1
            self.world.store.cancel(deployment, actor="somebody", now=self.world.clock.now())
            return
        self.intend(site, chosen, deployment.deployment, value=self.dice.choice([0, 1]))

    def scale(self, site: Site) -> None:
        self.intend(site, Verb.SCALE, value=self.dice.choice([1, 2, 3, 4]))

    def remove(self, site: Site) -> None:
        site.removing = True
        self.intend(site, Verb.REMOVE)

    def request(self, site: Site, kind: DeploymentKind, version: str, spec: DeploymentSpec, plan: Plan | None = None) -> str:
        """As a service would write it down; the name is returned."""
        self.numbers += 1
        name = f"{'rbk' if kind is DeploymentKind.ROLLBACK else 'upg'}-{self.numbers:03d}"
        now = self.world.clock.now()
        plan = plan or Plan()
        delay = plan.delay
        state = self._state(site)
        deployment = Deployment(
            deployment=name,
            agent=site.agent,
            kind=kind,
            from_version=state.agent.version if state else None,
            to_version=version,
            spec=spec,
            reason="a story",
            actor=plan.actor,
            requested_at=now,
            start_grace_seconds=plan.grace,
            override_freeze=plan.override_freeze,
            scheduled_at=now + timedelta(seconds=delay) if delay is not None else None,
            status=DeploymentStatus.SCHEDULED if delay is not None else DeploymentStatus.QUEUED,
        )
        site.asked[name] = Ask(deployment=name, kind=kind, calm_at=self.world.calm_seconds)
        release = Release(agent=site.agent, version=version, manifest=site.manifest, ref=version)
        self.world.store.request(deployment, release, now)
        self.world.tell(f"{site.agent}: {name} is asked for: {kind} to {version} ({spec.strategy})")
        return name

    def intend(self, site: Site, verb: Verb, deployment: str | None = None, *, value: int = 0) -> None:
        self.numbers += 1
        now = self.world.clock.now()
        intent = Intent(intent=self.numbers, agent=site.agent, verb=verb, actor="somebody", at=now, deployment=deployment, value=value)
        if site.agent in self.world.store.rows:
            self.world.store.intend(intent, now)
            self.world.tell(f"{site.agent}: somebody asks to {verb} {deployment or ''} {value or ''}".rstrip())

    def _state(self, site: Site) -> AgentState | None:
        row = self.world.store.rows.get(site.agent)
        return row.state if row else None

    def _full(self, site: Site) -> bool:
        return site.removing or len(self.world.store.deployments(site.agent)) > WAITING_MAX

    def _options(self) -> dict[str, Any]:
        return {name: self.dice.choice(values) for name, values in OPTIONS.items() if name in _KNOWN}

    def _policy(self) -> Policy:
        choose = self.dice.choice
        return Policy(
            enabled=self.dice.random() < 0.85,
            error_rate_threshold=choose([5.0, 5.0, 5.0, None]),
            latency_threshold_ms=choose([None, None, 200.0]),
            min_requests=choose([1, 20, 50]),
        )

    def _plain(self, strategy: str) -> DeploymentSpec:
        warm = self.dice.choice([0.0, 5.0, 30.0])
        return DeploymentSpec(strategy=strategy, steps=(100.0,), monitor_seconds=0.0, keep_warm_seconds=warm)
