"""The shape of `agent.toml`, table by table: types, defaults and what each value may be. `load_manifest` reads with it; docs are compared with it.

Only here is decided what is allowed. Strict: text is text and a number is a number, because a quoted number in TOML is a slip of its author.
"""

import re
from math import isfinite
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from agent_servicing.core.errors import Invalid
from agent_servicing.core.manifest import OnPromote, OnRollback
from agent_servicing.core.version_range import parse_range

INSTANCES_MAX = 100
"""Most instances of one agent: what one machine and one data plane can sensibly hold."""

SECONDS_MAX = 7 * 24 * 3600
"""Longest duration: a week. Longer is surely a mistake of units."""

RELOAD_SIGNALS = ("HUP", "USR1", "USR2")
"""Signals that can mean "read your configuration again"; the others end a process."""

JSON_DEPTH_MAX = 32
"""Deepest nesting of a value that is passed on as JSON; writing it recurses."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _problem(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("servicing", "{sentence}", {"sentence": sentence})


def _matching(pattern: str, allowed: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise _problem(allowed)
        return value

    return AfterValidator(check)


def _words(value: list[str]) -> list[str]:
    if not value or not value[0].strip():
        raise _problem('must name a program, for example ["python", "-m", "my_agent"]')
    if any("\0" in word for word in value):
        raise _problem("must not contain a NUL character")
    return value


def _inside(value: str) -> str:
    """A path below its folder, written with slashes."""
    path = PurePosixPath(value)
    if not value.strip() or path.is_absolute() or ".." in path.parts or path == PurePosixPath() or re.search(r"[\\\x00-\x1f]", value):
        raise _problem("must be a relative path inside its folder, without '..'")
    return value


def _range(value: str) -> str:
    try:
        parse_range(value)
    except Invalid as error:
        raise _problem(error.errors[0].message) from None
    return value


def _location(value: str) -> str:
    if not value.strip() or value.startswith("-") or re.search(r"[\x00-\x1f]", value) or re.match(r"\w+::", value):
        raise _problem("must be a path or an address such as https://…, ssh://…, file:///… or git@host:path")
    return value


def _json(value: object) -> object:
    """Only what JSON can say: the configuration travels as JSON."""
    waiting: list[tuple[tuple[object, ...], object]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if len(path) > JSON_DEPTH_MAX:
            raise _problem(f"must not be nested more than {JSON_DEPTH_MAX} deep")
        if isinstance(item, dict):
            waiting += [((*path, key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(item)]
        elif not (item is None or isinstance(item, str | bool | int) or (isinstance(item, float) and isfinite(item))):
            raise _problem(f"must hold only what JSON can say; {'.'.join(map(str, path)) or 'the value'} is {item}")
    return value


Json = Annotated[object, AfterValidator(_json)]
Command = Annotated[list[str], AfterValidator(_words)]
InsidePath = Annotated[str, AfterValidator(_inside)]
Seconds = Annotated[float, Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False)]
Budget = Annotated[float, Field(ge=0, le=SECONDS_MAX, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1000)]
EnvName = Annotated[str, _matching(r"[A-Za-z_][A-Za-z0-9_]*", "must be letters, digits and underscores, not starting with a digit")]
EnvValue = Annotated[str, _matching(r"[^\0]*", "must not contain a NUL character")]
UrlPath = Annotated[str, _matching(r"/[^\s\x00-\x1f#]*", "must start with / and hold no blanks")]
HeaderName = Annotated[str, _matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "must be an HTTP header name")]
HeaderValue = Annotated[str, _matching(r"[^\r\n\0]*", "must be one line")]


class Table(BaseModel):
    """Every table: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AgentTable(Table):
    """Who the agent is."""

    id: Annotated[str, _matching(r"[A-Za-z][A-Za-z0-9-]{0,62}", "must be a letter, then at most 62 letters, digits or hyphens")]
    description: str = ""
    owner: str = ""


class SourceTable(Table):
    """Where versions come from: exactly one key."""

    git: Annotated[str, AfterValidator(_location)] | None = None
    pypi: (
        Annotated[
            str,
            _matching(
                r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*\])?",
                'must be the name of a package, for example "httpbin" or "httpbin[mainapp]"',
            ),
        ]
        | None
    ) = None
    path: Annotated[str, _matching(r"[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*", "must be the path of a folder")] | None = None
    image: (
        Annotated[str, _matching(r"[a-z0-9][A-Za-z0-9._:/-]*", 'must be the name of an image, for example "registry/my-agent"')] | None
    ) = None

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        named = [kind for kind in type(self).model_fields if getattr(self, kind) is not None]
        if len(named) != 1:
            raise _problem(f"must name exactly one of git, pypi, path, image; it names {' and '.join(named) or 'none'}")
        return self


class ResourcesTable(Table):
    """What one instance may use; omitted: no limit."""

    memory_mb: Annotated[int, Field(ge=1)] | None = None
    cpu: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)] | None = None


class RunTable(Table):
    """How one instance is made and started."""

    runtime: str = "process"
    command: Command
    install: Command | None = None
    instances: Annotated[int, Field(ge=1, le=INSTANCES_MAX)] = 1
    env: dict[EnvName, EnvValue] = Field(default_factory=dict)
    resources: ResourcesTable = ResourcesTable()


class HealthTable(Table):
    """When an instance counts as healthy."""

    path: UrlPath | None = None
    startup_timeout_seconds: Seconds = 60
    interval_seconds: Seconds = 1
    healthy_after: Count = 2
    unhealthy_after: Count = 3


class RoutingTable(Table):
    """How requests find their generation."""

    conversation_key: (
        Annotated[
            str,
            _matching(
                r"(?:header|cookie|query):[A-Za-z0-9_.-]{1,64}",
                'must be "header:NAME", "cookie:NAME" or "query:NAME", the name of letters, digits, dots, hyphens and underscores',
            ),
        ]
        | None
    ) = None
    on_promote: OnPromote = "keep_until_idle"
    on_rollback: OnRollback = "move_now"


class DrainTable(Table):
    """Time for work in progress on instances that leave."""

    timeout_seconds: Budget = 30
    stream_timeout_seconds: Budget = 300
    conversation_timeout_seconds: Budget = 300


class ConfigTable(Table):
    """The agent's configuration and how a change reaches it."""

    schema_: InsidePath | None = Field(default=None, alias="schema")
    defaults: Annotated[dict[str, object], AfterValidator(_json)] = Field(default_factory=dict)
    reload: Annotated[
        str,
        _matching(
            rf"sdk|restart|signal:(?:{'|'.join(RELOAD_SIGNALS)})|http:/[^\s\x00-\x1f]*",
            'must be "sdk", "restart", "signal:NAME" with NAME one of ' + ", ".join(RELOAD_SIGNALS) + ', or "http:/PATH"',
        ),
    ] = "restart"
    file: InsidePath | None = None


class StateStoreTable(Table):
    """One part of the state."""

    kind: Literal["directory", "sqlite", "http"]
    path: InsidePath | None = None
    records: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)] = Field(default_factory=list)

    @model_validator(mode="after")
    def files_have_a_path(self) -> Self:
        if (self.path is None) != (self.kind == "http"):
            raise _problem("a directory or sqlite store needs a path, an http store has none: the agent exports it itself")
        return self

    @model_validator(mode="after")
    def records_are_tables(self) -> Self:
        if self.records and self.kind != "sqlite":
            raise _problem('records names tables of a database: it needs kind = "sqlite"')
        return self


class StateTable(Table):
    """State kept outside releases."""

    directory: InsidePath | None = None
    writes: Annotated[int, Field(ge=0)] | None = None
    reads: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    converts: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    stores: Annotated[list[StateStoreTable], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="after")
    def stores_lie_in_the_directory(self) -> Self:
        if self.directory is None and self.stores:
            raise _problem("stores lie inside the state directory: set directory, too")
        if self.converts and (self.writes is None or self.writes in self.converts):
            raise _problem("converts lists schemas other than the one that this version writes, which writes must name")
        return self

    @model_validator(mode="after")
    def reads_what_it_writes(self) -> Self:
        if self.writes is not None and self.reads and self.writes not in self.reads:
            raise _problem(f"reads must include {self.writes}, the schema that this version writes")
        return self


class RequestTable(Table):
    """One request that drives comparison, load test and verification."""

    method: Annotated[str, _matching("|".join(METHODS), "must be one of " + ", ".join(METHODS))] = "GET"
    path: UrlPath = "/"
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    json_: Json = Field(default=None, alias="json")
    expect_status: Annotated[int, Field(ge=100, le=599)] = 200


class RecallTable(RequestTable):
    """One golden request: what the state that is kept must still be good for."""

    name: Annotated[str, Field(max_length=200)] = ""
    expect_json: Json = None


class TestsTable(Table):
    """The agent's own tests."""

    __test__ = False  # pytest would collect the name

    smoke: Command | None = None
    integration: Command | None = None
    requests: list[RequestTable] = Field(default_factory=list)
    recall: Annotated[list[RecallTable], Field(max_length=100)] = Field(default_factory=list)


class UpgradeTable(Table):
    """What an operator must know before moving to this version."""

    from_: Annotated[str, AfterValidator(_range)] = Field(default="", alias="from")
    breaking: list[str] = Field(default_factory=list)
    migration_notes: str = ""
    security: bool = False
    critical: bool = False
    approval_deadline_seconds: Annotated[float, Field(ge=0, le=90 * 24 * 3600, allow_inf_nan=False)] | None = None


class ManifestFile(Table):
    """The whole file."""

    agent: AgentTable
    source: SourceTable
    run: RunTable
    health: HealthTable = HealthTable()
    routing: RoutingTable = RoutingTable()
    drain: DrainTable = DrainTable()
    config: ConfigTable = ConfigTable()
    state: StateTable = StateTable()
    tests: TestsTable = TestsTable()
    upgrade: UpgradeTable = UpgradeTable()


RUNTIMES: tuple[Literal["process", "docker", "kubernetes"], ...] = ("process", "docker", "kubernetes")
"""The runtimes of the contract; an installed driver of someone else's may add to them."""
