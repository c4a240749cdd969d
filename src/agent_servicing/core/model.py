"""The nouns: agent, generation, instance, deployment, intent, and the snapshot of all of them that a decision is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent_servicing.core.analysis import Evidence, Judgement, Policy, Sample, Tally
from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.patch import Patch
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.impact import Footing, Impact
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.metrics import Counters
from agent_servicing.core.resources import Resources
from agent_servicing.core.routing import RoutingView
from agent_servicing.core.schedule import OPEN, Gate, Line, Lock, Places, Tried
from agent_servicing.core.stages import Replace, Retire, SetTraffic, StageRecord, StateStage, Verify
from agent_servicing.core.state import Saving
from agent_servicing.core.status import (
    ACTIVE,
    TERMINAL,
    AgentStatus,
    DeploymentKind,
    DeploymentStatus,
    GenerationStatus,
    InstanceStatus,
    PreparationStatus,
    StageStatus,
    Verb,
    VerificationStatus,
    WaitingFor,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One running copy. Its name is derived (`g7-2-5`: generation 7, second place, the fifth that this generation asked for, whatever its place),
    so that starting it twice is the same act.

    `config_told_at`: when it was last given the configuration in force again, because it had another one.
    """

    instance: str
    generation: int
    version: str
    place: int
    status: InstanceStatus = InstanceStatus.STARTING
    host: str | None = None
    port: int | None = None
    pid: int | None = None
    created_at: datetime
    started_at: datetime | None = None
    ready_at: datetime | None = None
    healthy_in_a_row: int = 0
    unhealthy_in_a_row: int = 0
    probed_at: datetime | None = None
    draining_at: datetime | None = None
    stopping_since: datetime | None = None
    signalled_at: datetime | None = None
    config_told_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The instances of one version behind one agent. `number` counts up per agent and is never used again.

    `part` is the percentage of the agent's instances wanted of it, `desired` the number that follows. While `shrunk_until` lies ahead
    it was made smaller on purpose and cannot carry everything: traffic comes back to it only as its instances do. `config` is the
    revision its instances have, empty for the one that nobody patched. `epoch` is the state folder they use: a snapshot is never restored
    under running instances, but into a new folder for new ones.
    """

    number: int
    version: str
    created_at: datetime
    config: str = ""
    epoch: int = 0
    status: GenerationStatus = GenerationStatus.LIVE
    part: float = 100.0
    desired: int
    shrunk_until: datetime | None = None
    attempts: int = 0
    crashes: tuple[datetime, ...] = ()
    crash_looping: bool = False
    draining_since: datetime | None = None
    conversations_moved: bool = False
    warm_until: datetime | None = None

    @property
    def answering(self) -> bool:
        """Whether requests may still reach it. A warm one is a rollback point and keeps what it had."""
        return self.status not in (GenerationStatus.WARM, GenerationStatus.STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The service being operated. `stable` is the generation that serves; `candidate`, `share` and `redirects` are the routing wanted now.

    `epoch` is the state folder in use, `next_epoch` the next one that a restore makes.
    """

    agent: str
    manifest: Manifest
    instances: int
    created_at: datetime
    status: AgentStatus = AgentStatus.ACTIVE
    version: str | None = None
    version_deployed_at: datetime | None = None
    stable: int | None = None
    candidate: int | None = None
    share: float = 0.0
    redirects: Mapping[int, int] = field(default_factory=dict)
    next_generation: int = 1
    epoch: int = 0
    next_epoch: int = 1


OnInconclusive = Literal["promote", "hold", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """What the operator asked for, complete: a strategy compiles it to stages without looking anywhere else. Times in seconds.

    `steps` are blue-green's shares, `percent` is the canary's part, `batch_size` or `batch_percent` what is replaced at once.
    `on_inconclusive` says what follows a watch that proved nothing either way on enough requests. `confirm_seconds`: after 100 % the
    deployment is taken back unless somebody confirms it in this time, or by `confirm_until`. `bake_until` ends the bake no earlier.
    `control_percent` stays with the stable side through the bake. `snapshot`: the state is copied before anything is changed.
    `restore`: the copy that a rollback puts back. `convert`: the schema to which what the newer version wrote is converted on the way back.
    """

    strategy: str
    steps: tuple[float, ...] = (25.0, 50.0, 100.0)
    percent: float = 10.0
    batch_size: int | None = None
    batch_percent: float | None = None
    monitor_seconds: float = 180.0
    pause_seconds: float = 0.0
    bake_seconds: float = 0.0
    bake_until: datetime | None = None
    confirm_seconds: float | None = None
    confirm_until: datetime | None = None
    control_percent: float = 0.0
    warmup_seconds: float | None = None
    on_inconclusive: OnInconclusive = "promote"
    promote_early: bool = False
    verify: bool = False
    snapshot: bool = False
    restore: str | None = None
    convert: int | None = None
    keep_warm_seconds: float = 600.0
    hold_seconds: float = 900.0
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackTrigger:
    """Why traffic was taken back, in numbers where there are any. `value` and `threshold` share a unit that `metric` names."""

    reason: str
    auto: bool
    actor: str
    at: datetime
    metric: str | None = None
    value: float | None = None
    threshold: float | None = None
    window_seconds: float | None = None
    requests: int | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One upgrade, rollback, installation or restart under way. `revision` counts every change, for `if_version`.

    `reported` is the last reading of what instances report themselves, by generation and metric.
    `control_since`: the old version has a part of the traffic again, to compare. `replaced`: instances of the candidate that alone were bad.
    `overridden_by`: who took the decision from the analysis; it then still tells, but neither holds nor takes back.
    `edits` counts the changes that services made while it waited, `order` is where an operator moved it to (lower comes first),
    `place_since` when it began to wait for a free place among all agents' deployments. `config` is the configuration revision that its
    new instances get, None for the one that is in force when it begins; `from_config` the one that the replaced generation had at its end.
    `approve_by`: the end of waiting for a second person. `held_by`: what held it when it was last looked at, `queue.waiting_for` tells it.
    `epochs` are the state folders of the stable side and of the candidate, which differ only where a snapshot is restored. `before` is what
    served as it began.
    """

    deployment: str
    agent: str
    kind: DeploymentKind
    from_version: str | None
    to_version: str
    spec: DeploymentSpec
    reason: str
    actor: str
    requested_at: datetime
    scheduled_at: datetime | None = None
    start_grace_seconds: float = 900.0
    override_freeze: bool = False
    override_staging: bool = False
    order: int = 0
    edits: int = 0
    place_since: datetime | None = None
    status: DeploymentStatus = DeploymentStatus.QUEUED
    revision: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    paused_at: datetime | None = None
    stages: tuple[StageRecord, ...] = ()
    stable: int | None = None
    candidate: int | None = None
    epochs: tuple[int, int] = (0, 0)
    baseline: Counters | None = None
    latest: Counters | None = None
    in_force_at: datetime | None = None
    stage_baseline: Counters | None = None
    samples: tuple[Sample, ...] = ()
    evidence: Evidence | None = None
    judgement: Judgement | None = None
    reported: Mapping[int, Mapping[str, Tally]] = field(default_factory=dict)
    control_since: datetime | None = None
    replaced: tuple[str, ...] = ()
    trigger: RollbackTrigger | None = None
    impact: Impact = field(default_factory=Impact)
    before: Footing | None = None
    overridden_by: str | None = None
    approval_wanted: bool = False
    approved_by: str | None = None
    approve_by: datetime | None = None
    held_by: WaitingFor | None = None
    config: str | None = None
    from_config: str | None = None
    message: str = ""

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def being_verified(self) -> bool:
        return any(isinstance(r.stage, Verify) and r.status is StageStatus.IN_PROGRESS for r in self.stages)

    @property
    def state_stage(self) -> StateStage | None:
        """The stage under way, where that is one about the state."""
        running = (r.stage for r in self.stages if r.status is StageStatus.IN_PROGRESS)
        return next((stage for stage in running if isinstance(stage, StateStage)), None)

    @property
    def untouched(self) -> bool:
        """No traffic ever reached the newcomer, so there is nothing to roll back."""
        return not any(isinstance(r.stage, SetTraffic | Replace) and r.stage.percent > 0 and r.started_at for r in self.stages)

    @property
    def handed_over(self) -> bool:
        """The new version is the stable one: only the old one's leaving is left to do, and going back is a rollback of its own."""
        return any(isinstance(r.stage, Retire) and r.stage.target == "stable" and r.started_at for r in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An operator's wish, written by a service and consumed by the engine. `value` is the number for `scale`, 1 for a full promote."""

    intent: int
    agent: str
    verb: Verb
    actor: str
    at: datetime
    deployment: str | None = None
    reason: str = ""
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version. `ref` names the artifact for its source (commit, package version, folder), `config_schema` is the text of a JSON Schema."""

    agent: str
    version: str
    manifest: Manifest
    ref: str
    config_schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """Everything the store knows about one agent that a decision may need. `rollback_points` are versions, newest first, at most five.

    `line` and `places` are loaded only while something waits that they may hold. `layers` are the contents of the configuration revisions
    that generations and deployments name, `patch` the newest change of the configuration while the engine has something to do for it. `tried`:
    what is known of waiting versions where the agent has a staging gate.
    """

    agent: Agent
    generations: tuple[Generation, ...] = ()
    instances: tuple[Instance, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    intents: tuple[Intent, ...] = ()
    releases: Mapping[str, Release] = field(default_factory=dict)
    rollback_points: tuple[str, ...] = ()
    line: Line = field(default_factory=Line)
    places: Places = field(default_factory=Places)
    lock: Lock | None = None
    layers: Mapping[str, Layers] = field(default_factory=dict)
    patch: Patch | None = None
    tried: Mapping[str, Tried] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One instance as the runtime sees it. Not alive with an exit code None: ended while nobody could wait for it. `resources`: the limits
    in force, None from a runtime that sets none.
    """

    instance: str
    generation: int
    version: str
    alive: bool
    host: str
    port: int
    pid: int | None = None
    started_at: datetime | None = None
    exit_code: int | None = None
    last_output: str = ""
    resources: Resources | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One health check's answer."""

    instance: str
    healthy: bool
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How far the installation of one version is; `detail` holds its last output lines when it failed, `at` when that was."""

    status: PreparationStatus
    detail: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the agent's own tests and requests said of a deployed version. `passed` and `failed` count both, as far as the tests can be counted.

    `detail` is for people: a sentence or two, then the last lines of output when something failed. `at` is when it ended.
    """

    status: VerificationStatus
    detail: str = ""
    passed: int = 0
    failed: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The outside world at one moment. None means "could not be read", which is never the same as "nothing there"."""

    at: datetime
    processes: Mapping[str, Process] | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)
    routing: RoutingView | None = None
    counters: Counters | None = None
    preparations: Mapping[str, Preparation] = field(default_factory=dict)
    verification: Verification | None = None
    saving: Saving | None = None
    reports: Mapping[int, Mapping[str, Tally]] | None = None
    configs: Mapping[str, ConfigReport] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Input of a decision: what the store knows, what the world shows, and whether the calendar lets upgrades begin."""

    state: AgentState
    world: Observation
    gate: Gate = OPEN


IfBusy = Literal["queue", "reject", "take_over"]
