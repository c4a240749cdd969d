"""What an agent's developer declares in `agent.toml`, as plain values. `agent_servicing.manifest` parses and validates; the core only reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SourceKind = Literal["git", "pypi", "path", "image"]
RuntimeName = str
OnPromote = Literal["keep_until_idle", "move_at_next_turn"]
OnRollback = Literal["move_now", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where versions come from: exactly one kind and its location."""

    kind: SourceKind
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one instance is made and started. `command` may hold `{host}`, `{port}`, `{release}` (its folder), `{state}` and `{config}`."""

    runtime: RuntimeName = "process"
    command: tuple[str, ...] = ()
    install: tuple[str, ...] | None = None
    instances: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """When an instance counts as healthy. `path` None means a TCP connect."""

    path: str | None = None
    startup_timeout_seconds: float = 60
    interval_seconds: float = 1
    healthy_after: int = 2
    unhealthy_after: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationKey:
    """Where a request carries its conversation: a header, cookie or query parameter of this name."""

    kind: Literal["header", "cookie", "query"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """Where open conversations go on when their version stops being the current one: promoted over, or rolled back from."""

    on_promote: OnPromote = "keep_until_idle"
    on_rollback: OnRollback = "move_now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Budgets for work in progress on instances that leave: plain requests, streams, open conversations (seconds)."""

    timeout_seconds: float = 30
    stream_timeout_seconds: float = 300
    conversation_timeout_seconds: float = 300

    @property
    def stream_budget_seconds(self) -> float:
        """Streams have at least as long as plain requests."""
        return max(self.timeout_seconds, self.stream_timeout_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSpec:
    """The agent's configuration: its schema file, defaults, and how a change reaches a running instance."""

    schema: str | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)
    reload: str = "restart"
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStore:
    """One part of an agent's state; `path` lies inside the state directory. `http` is what the agent exports itself, wherever it keeps that.

    `records` are the tables whose rows are what the agent remembers, as against what it derives from them; empty means all.
    """

    kind: Literal["directory", "sqlite", "http"]
    path: str = "."
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpec:
    """State kept outside releases and shared by generations; `writes` and `reads` are state-schema numbers.

    `converts` are the older schemas to which the version can convert what it wrote. `stores` empty means the whole directory.
    """

    directory: str | None = None
    writes: int | None = None
    reads: tuple[int, ...] = ()
    converts: tuple[int, ...] = ()
    stores: tuple[StateStore, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRequest:
    """One request that drives comparison, load test and verification."""

    __test__ = False  # pytest would collect the name

    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    expect_status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """One request whose right answer is known: its status, and what its JSON has at least; `expect_json` None is not looked at."""

    name: str = ""
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    expect_status: int = 200
    expect_json: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """The agent's own tests: commands that write JUnit XML, and requests."""

    smoke: tuple[str, ...] | None = None
    integration: tuple[str, ...] | None = None
    requests: tuple[TestRequest, ...] = ()
    recall: tuple[GoldenRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeNotes:
    """What an operator must know before moving to this version. `from_range` is a semver range, empty = any.

    `approval_deadline_seconds` is for upgrades away from it: how long they wait for a second person, 0 for as long as it takes, None for as
    long as the server says.
    """

    from_range: str = ""
    breaking: tuple[str, ...] = ()
    migration_notes: str = ""
    security: bool = False
    critical: bool = False
    approval_deadline_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One agent at one version, whole. `text` is what the developer wrote, kept for differences and audit."""

    agent: str
    description: str = ""
    owner: str = ""
    source: Source
    run: Run
    health: Health = Health()
    conversation_key: ConversationKey | None = None
    conversations: Conversations = Conversations()
    drain: Drain = Drain()
    config: ConfigSpec = ConfigSpec()
    state: StateSpec = StateSpec()
    tests: Tests = Tests()
    upgrade: UpgradeNotes = UpgradeNotes()
    text: str = ""
