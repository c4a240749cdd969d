"""The people who plan: freezes and windows, the stopped line, locks, the limit, the queue. They write what the services write."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from agent_servicing.core.model import Deployment
from agent_servicing.core.queue import moved, queued
from agent_servicing.core.schedule import Line, Lock, Rule, RuleKind, Stop
from agent_servicing.core.status import PLACED, WAITING, DeploymentKind, DeploymentStatus, Verb
from agent_servicing.testing.simulation.moments import guarded
from agent_servicing.testing.simulation.operators import Operators
from agent_servicing.testing.simulation.site import Site
from agent_servicing.testing.simulation.world import World

SPANS_SECONDS = (3.0, 10.0, 60.0, 4_000.0)
RULES_MAX = 4


@dataclass(slots=True, kw_only=True)
class Planners:
    """`act` is one thing somebody does about when upgrades may begin."""

    world: World
    dice: Random
    operators: Operators

    def act(self, site: Site) -> None:
        acts: list[Callable[[Site], None]] = [
            self.add_rule,
            self.add_rule,
            self.remove_rule,
            self.stop_or_resume,
            self.lock_or_unlock,
            self.set_limit,
            self.move,
            self.reschedule,
        ]
        self.dice.choice(acts)(site)

    def open_everything(self) -> None:
        """Peace: nothing is closed any more. A limit stays, everything has to settle under it."""
        self.world.store.locks.clear()
        self._save(Line(max_concurrent_deployments=self.world.store.line.max_concurrent_deployments), "every gate is opened")

    def add_rule(self, site: Site) -> None:
        line, dice, now = self.world.store.line, self.dice, self.world.clock.now()
        if len(line.rules) >= RULES_MAX:
            return
        kind = dice.choice([RuleKind.FREEZE, RuleKind.FREEZE, RuleKind.WINDOW])
        begins = now + timedelta(seconds=dice.choice([0.0, 0.0, 5.0]))
        rule = Rule(
            rule=f"rule-{self.world.numbered()}",
            kind=kind,
            name="a plan",
            reason="a story",
            actor="somebody",
            created_at=now,
            agents=dice.choice([(), (site.agent,)]),
        )
        if dice.random() < 0.2:
            rule = replace(rule, cron=dice.choice(["* * * * *", "*/2 * * * *"]), duration_seconds=dice.choice([20.0, 60.0]))
        else:
            rule = replace(rule, starts_at=begins, ends_at=begins + timedelta(seconds=dice.choice(SPANS_SECONDS)))
        self._save(replace(line, rules=(*line.rules, rule)), f"somebody adds a {kind}")

    def remove_rule(self, _site: Site) -> None:
        line = self.world.store.line
        if line.rules:
            gone = self.dice.choice(line.rules)
            self._save(replace(line, rules=tuple(rule for rule in line.rules if rule is not gone)), f"somebody removes a {gone.kind}")

    def stop_or_resume(self, _site: Site) -> None:
        line = self.world.store.line
        if line.stop is not None:
            self._save(replace(line, stop=None), "somebody resumes the line")
            return
        stop = Stop(actor="somebody", reason="a story", since=self.world.clock.now())
        self._save(replace(line, stop=stop), "somebody stops the line")
        if self.dice.random() < 0.5:
            for site in self.world.sites.values():
                for deployment in self.world.store.deployments(site.agent):
                    if guarded(deployment) and deployment.status is not DeploymentStatus.PAUSED and deployment.kind in PLACED:
                        self.operators.intend(site, Verb.PAUSE, deployment.deployment)

    def lock_or_unlock(self, site: Site) -> None:
        now, locks = self.world.clock.now(), self.world.store.locks
        if locks.pop(site.agent, None) is None:
            end = now + timedelta(seconds=self.dice.choice(SPANS_SECONDS))
            holder = self.dice.choice(["somebody", "another"])
            locks[site.agent] = Lock(agent=site.agent, holder=holder, reason="a story", since=now, expires_at=end)
        self.world.plans_changed()
        self.world.tell(f"{site.agent}: {'locked' if site.agent in locks else 'unlocked'}")

    def set_limit(self, _site: Site) -> None:
        limit = self.dice.choice([None, 0, 1, 1, 2])
        self._save(replace(self.world.store.line, max_concurrent_deployments=limit), f"the limit is {limit}")

    def move(self, site: Site) -> None:
        there = self.world.store.deployments(site.agent)
        others = [d for d in queued(there) if d.kind is not DeploymentKind.ROLLBACK]
        if others:
            chosen = self.dice.choice(others)
            for changed in moved(chosen, there, self.dice.randint(1, len(queued(there)))):
                self._edit(changed)
            self.world.tell(f"{site.agent}: {chosen.deployment} is moved in the queue")

    def reschedule(self, site: Site) -> None:
        waiting = [d for d in self.world.store.deployments(site.agent) if d.status in WAITING and d.kind in PLACED]
        if not waiting:
            return
        chosen, seconds = self.dice.choice(waiting), self.dice.choice([None, 3.0, 20.0])
        start = self.world.clock.now() + timedelta(seconds=seconds) if seconds else None
        status = DeploymentStatus.SCHEDULED if start else DeploymentStatus.QUEUED
        self._edit(replace(chosen, scheduled_at=start, status=status, order=0, place_since=None, message=""))
        self.world.tell(f"{site.agent}: {chosen.deployment} is {'put off' if start else 'to begin at once'}")

    def _edit(self, deployment: Deployment) -> None:
        self.world.store.edit(deployment, self.world.clock.now())

    def _save(self, line: Line, told: str) -> None:
        self.world.store.set_line(line, self.world.clock.now())
        self.world.plans_changed()
        self.world.tell(told)
