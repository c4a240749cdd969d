"""What the engine and the services need of the outside world. Drivers implement these; `testing` has the smallest implementation of each.

Every method is asynchronous and idempotent. A driver raises `TemporaryError` or `PermanentError` and nothing else on purpose.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from agent_servicing.core.actions import Goodbye
from agent_servicing.core.analysis import Tally
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.config.said import Held, Said
from agent_servicing.core.draft import JudgedBlock
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.metrics import Counters
from agent_servicing.core.model import AgentState, Preparation, Probe, Process, Release, Verification
from agent_servicing.core.reports import Limit
from agent_servicing.core.resources import Resources
from agent_servicing.core.routing import Routing, RoutingView
from agent_servicing.core.versions import SourceVersion


class Clock(Protocol):
    """The only source of time. `now` is UTC and may jump; `monotonic` (seconds) may not; `sleep` is for loops outside reconciles."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Ids(Protocol):
    """The only source of randomness."""

    def new(self, prefix: str) -> str:
        """A sortable unique id such as `upg-01J…`."""
        ...

    def token(self) -> str:
        """A secret of at least 128 bits, URL-safe."""
        ...


class Runtime(Protocol):
    """Installs versions and runs instances. Instances outlive the server; `observe` finds them again."""

    async def prepare(self, release: Release, *, again: bool = False) -> None:
        """Begin to install `release` unless it is installed or under way; `again` discards a failed attempt first. Returns at once."""
        ...

    async def preparation(self, agent: str, version: str) -> Preparation:
        """How far that installation is."""
        ...

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        """Start this instance unless it was started before, even when it has ended since.

        `config` is the text of its configuration file, empty: the manifest's defaults; `revision` is that configuration's name. `epoch` is
        the state folder it is given.
        """
        ...

    async def stop(self, agent: str, instance: str, *, kill: bool = False) -> None:
        """Signal it to end. Does not wait; unknown or ended instances are fine."""
        ...

    async def observe(self, agent: str) -> Mapping[str, Process]:
        """Every instance that was started and not yet forgotten, by name."""
        ...

    async def forget(self, agent: str, instance: str) -> None:
        """Drop the record of an ended instance; its log stays readable for a while."""
        ...

    async def logs(self, agent: str, instance: str | None = None, *, lines: int = 200) -> Sequence[tuple[str, str]]:
        """The last lines of one instance or of all of the agent's, as (instance, line), oldest first."""
        ...

    async def collect(self, agent: str, *, keep: Collection[str]) -> Sequence[str]:
        """Delete installed versions of the agent that are not in `keep`; returns those deleted."""
        ...


class Router(Protocol):
    """Moves traffic. `apply` makes the data plane equal to the value, `observe` tells the truth about it."""

    async def observe(self, agent: str) -> RoutingView: ...
    async def apply(self, routing: Routing) -> None: ...
    async def remove(self, agent: str) -> None: ...


@runtime_checkable
class SeesAllInstances(Protocol):
    """A `Runtime` that can look at every agent at once, cheaply. With one that cannot, agents never rest."""

    async def living(self) -> Mapping[str, Mapping[str, int | None]]:
        """The process id of every instance that runs at this moment, by agent and instance."""
        ...


@runtime_checkable
class SeesAllRoutings(Protocol):
    """A `Router` that can look at every agent at once, cheaply. With one that cannot, agents never rest."""

    async def observe_all(self) -> Mapping[str, Routing]:
        """What `observe` would say of each agent that the data plane knows."""
        ...


class Metrics(Protocol):
    """Reads what was counted. Missing data is an error or an absent key, never a zero."""

    async def counters(self, agent: str) -> Counters: ...


class AgentClient(Protocol):
    """Talks to running instances."""

    async def probe(self, manifest: Manifest, process: Process) -> Probe:
        """One health check of this instance, as its manifest says; never raises, never takes longer than 2 s."""
        ...


@runtime_checkable
class InstanceTokens(Protocol):
    """What a runtime can besides, when it gives its instances tokens by which they report back."""

    async def holder(self, token: str) -> tuple[str, Process] | None:
        """The agent and the running instance that was given this token; None for any other token, one of an ended instance included."""
        ...


@runtime_checkable
class LimitsInstances(Protocol):
    """A `Runtime` that can change what running instances may use; it tells what they may in `Process.resources`."""

    @property
    def limitable(self) -> frozenset[str]:
        """Names of `Resources` that can be limited on this machine."""
        ...

    async def limit(self, agent: str, instance: str, resources: Resources) -> None:
        """For every process of the instance, and those that these start later; one that has ended is fine. Raises `TemporaryError`,
        `PermanentError`."""
        ...


@runtime_checkable
class ConfiguresInstances(Protocol):
    """A `Runtime` whose instances have a configuration file, can be signalled, and hold a token."""

    async def write_config(self, agent: str, instance: str, text: str) -> None:
        """Replace the instance's configuration file atomically. Raises `TemporaryError` (a full disk) and leaves the old one then."""
        ...

    async def read_config(self, agent: str, instance: str) -> str | None:
        """What stands in the file now; None when there is none."""
        ...

    async def signal(self, agent: str, instance: str, name: str) -> None:
        """Send this signal (HUP, USR1, USR2) to the instance's own process; one that has ended is fine."""
        ...

    async def token(self, agent: str, instance: str) -> str | None:
        """The token it was started with; None for an unknown instance."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigTarget:
    """One running instance and the document it is to have."""

    agent: str
    manifest: Manifest
    process: Process
    document: ConfigDocument


class ConfigChannel(Protocol):
    """Brings documents to instances and tells what these say of them. Nothing here waits for an instance: what was asked is observed later."""

    async def render(self, agent: str, document: ConfigDocument) -> str:
        """The text of the file for an instance that is about to start, secrets filled in. Raises `TemporaryError`, `PermanentError`."""
        ...

    async def prepare(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:
        """Ask each whether it would accept its document; nothing is changed by it. Asking again while it is being asked is harmless."""
        ...

    async def commit(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:
        """Have each use its document from now on."""
        ...

    async def abort(self, targets: Sequence[ConfigTarget]) -> None:
        """Tell those that were asked that this document will not come."""
        ...

    async def drain(self, manifest: Manifest, process: Process, goodbye: Goodbye | None) -> None:
        """Tell this instance by when its streams are to end, or with None that it serves on, if there is a way to tell it.

        Never waits, never fails; telling it the same again at once is nothing.
        """
        ...

    async def known(self, agent: str) -> Mapping[str, ConfigReport]:
        """What the instances of this agent said last; nobody is asked."""
        ...

    async def reports(self, wanted: Sequence[ConfigTarget]) -> Mapping[str, ConfigReport]:
        """What these instances say, by name; absent: nothing is known yet. `wanted` is what each is to have at this moment: an instance
        that connects anew is given that."""
        ...

    async def forget(self, agent: str, instance: str) -> None:
        """Drop what is known of an ended instance."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEvent:
    """One message to an instance: its name, and its content as JSON."""

    event: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDocument:
    """The text of the configuration file an instance is to have, secrets filled in. Never to be logged."""

    held: Held
    text: str = field(repr=False)


class InstanceLink(Protocol):
    """What instances connect to: they are told what they are to have, and say what they have. For instances that proved who they are."""

    def subscribe(self, agent: str, instance: str) -> AbstractAsyncContextManager[AsyncIterator[LinkEvent | None]]:
        """What the instance is to have, now and whenever it changes; None is a sign of life. Of two subscriptions the newer one lives on.

        Raises Unavailable `too_many_subscribers`, `stopping`.
        """
        ...

    async def document(self, agent: str, instance: str, *, has: str | None, wait_seconds: float) -> LinkDocument | None:
        """What it is to have, as soon as that is not the text with the hash `has`; None when that takes longer."""
        ...

    async def report(self, agent: str, instance: str, said: Said) -> Held | None:
        """Take in what it says; returns what it is to have, None while that is not known yet."""
        ...


class Secrets(Protocol):
    """Reads secrets by the references that documents hold."""

    async def resolve(self, agent: str, references: Collection[str]) -> Mapping[str, str]:
        """The value of each reference (`name@version`). Raises `PermanentError` naming those that do not exist, never a value."""
        ...


class Cipher(Protocol):
    """Makes secrets unreadable at rest. Not asynchronous: it only computes. While there is no usable key everything but `begin` raises
    `PermanentError`, whose message says what to do about it.
    """

    def begin(self) -> None:
        """Make a key unless there is one. For the very first secret only: a key that was lost must not be replaced in silence."""
        ...

    def seal(self, label: str, value: str) -> bytes:
        """`value`, readable only with the key and only under this label."""
        ...

    def open(self, label: str, sealed: bytes) -> str:
        """Raises `PermanentError` when the key is another or the label is."""
        ...

    def seal_anew(self, label: str, sealed: bytes) -> bytes | None:
        """The same with the newest key; None when that sealed it."""
        ...

    def fingerprint(self, name: str, value: str) -> str:
        """Eight characters that are equal for equal values under this name and say nothing about them without the key."""
        ...


class Masker(Protocol):
    """Takes secrets out of texts that come from outside."""

    def mask(self, agent: str, text: str) -> str:
        """`text` without the values of secrets that this agent can be given."""
        ...


class Verifier(Protocol):
    """Asks a deployed version, at its production address, what its developer wrote down to ask it. `key` names one such verification."""

    async def begin(self, release: Release, *, key: str) -> None:
        """Run the release's smoke tests and requests unless that was begun under this key. Returns at once."""
        ...

    async def outcome(self, key: str) -> Verification:
        """How far it is; absent when it was never begun, was forgotten, or the server was started anew meanwhile."""
        ...

    async def forget(self, key: str) -> None:
        """Drop it and end what still runs of it; an unknown key is fine."""
        ...


class Reports(Protocol):
    """Counts what agents reported about themselves."""

    async def tallies(self, agent: str, metrics: Sequence[Limit], since: datetime) -> Mapping[int, Mapping[str, Tally]]:
        """Per generation and metric: how many values were observed at `since` or later, and how many of them beyond the limit.

        What nothing was reported of is absent. Raises `TemporaryError`.
        """
        ...


class VersionSource(Protocol):
    """Finds versions of one kind of source (git, PyPI, folder) and fetches their files."""

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        """Every version there is, in any order, with changelog where the source knows one. Raises `PermanentError` with what to do."""
        ...

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        """Put that version's files into the empty `folder`. A package source puts nothing there and leaves it to the install step."""
        ...

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:
        """The install step worked out from the source when the manifest names none; None when nothing is to be done."""
        ...


class EventBus(Protocol):
    """Tells every server process that something was committed. A hint: whoever misses one finds the change by polling."""

    async def publish(self, topic: str) -> None: ...
    def subscribe(self, topic: str) -> AsyncIterator[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An engine's claim on one agent: only the holder of `token` may commit, and only until `expires_at`."""

    agent: str
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The outcome of one reconcile: the next state, what happened, which intents are done, when to come back.

    `blocks` are appended to what its verdicts can be replayed from.
    """

    state: AgentState
    events: Sequence[Event]
    intents_done: Sequence[int]
    next_at: datetime
    blocks: Sequence[JudgedBlock] = ()


class Store(Protocol):
    """Durable state for the engine. Services use the database beneath it in transactions of their own."""

    async def claim(self, now: datetime, *, lease_seconds: float, limit: int, called: Collection[str] = ()) -> Sequence[Lease]:
        """Take the agents that are due, or `called`, and not leased, longest due first."""
        ...

    async def load(self, agent: str) -> AgentState: ...

    async def commit(self, lease: Lease, commit: Commit, now: datetime) -> bool:
        """Write state, events and the next time in one transaction and give the lease back; False and no change when it is stale."""
        ...

    async def release(self, lease: Lease, *, next_at: datetime) -> bool:
        """Give the lease back unchanged, due again at `next_at`; False and nothing happens when it is stale."""
        ...

    async def wake(self, agents: Collection[str] | None, now: datetime) -> None:
        """Make these agents (None: all) due at once; one that an engine holds just now is due again when it is given back."""
        ...

    async def next_due(self) -> datetime | None:
        """When the earliest agent can be claimed: when it is due, or when its lease ends should nobody give it back before."""
        ...
