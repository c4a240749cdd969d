"""Who is told what outside of the server: targets, rules, and which targets one notification goes to; and where reports are
opened as issues. Pure; used by `services.outward` and `services.issues`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from agent_servicing.core.notices import Severity

SAME_FOR_SECONDS: Final = 300.0
GIVE_UP_SECONDS: Final = 3_600.0

BACKOFF_SECONDS: Final = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Pauses after the first failures of a target in a row; then the last one each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send. `secret`: the name of the secret that holds its address; None: the address is kept, encrypted, with the target.
    `shown` is the address without anything secret, `service` what it is for people.
    """

    name: str
    secret: str | None = None
    shown: str = ""
    service: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What goes to these targets: of these agents and kinds (None: all), from this severity on."""

    name: str
    targets: tuple[str, ...]
    agents: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    least: Severity = Severity.INFO

    def wants(self, kind: str, severity: Severity, agent: str | None) -> bool:
        of_agent = self.agents is None or (agent is not None and agent in self.agents)
        return of_agent and (self.kinds is None or kind in self.kinds) and severity.reaches(self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutwardSettings:
    """`revision` counts changes. `same_for_seconds`: how long the same thing is told once. `give_up_seconds`: how long a target is tried.
    `page_url`: what links begin with, empty for no links.
    """

    revision: int = 0
    targets: Mapping[str, Target]
    rules: tuple[Rule, ...] = ()
    same_for_seconds: float = SAME_FOR_SECONDS
    give_up_seconds: float = GIVE_UP_SECONDS
    page_url: str = ""

    def chosen(self, kind: str, severity: Severity, agent: str | None) -> tuple[str, ...]:
        """Names of the targets that get it, each once, in their order."""
        wanted = {name for rule in self.rules if rule.wants(kind, severity, agent) for name in rule.targets}
        return tuple(name for name, target in self.targets.items() if name in wanted and target.enabled)


def pause_seconds(failures: int) -> float:
    """How long to leave a target alone after so many failures in a row (1 or more)."""
    return BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]


TrackerKind = Literal["none", "github", "gitlab", "webhook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """Where reports are opened as issues. `project` is `owner/name`, or what GitLab calls a project; `projects` names others for some agents.
    `secret` is the name of the secret that holds the token, or signs what a webhook gets.
    """

    revision: int = 0
    kind: TrackerKind = "none"
    base_url: str = ""
    project: str = ""
    projects: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    secret: str | None = None

    def project_of(self, agent: str) -> str:
        return self.projects.get(agent, self.project)
