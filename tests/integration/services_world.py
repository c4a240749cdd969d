"""The services over a real SQLite file, with a source the test writes versions into. `bring_to` stands for the engine: it finishes what waits."""
# ruff: noqa: ARG002  (the written source answers for every manifest alike)

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent_servicing.adapters.passwords import Argon2Passwords
from agent_servicing.adapters.sources.uploads import FolderUploads, WithUploads
from agent_servicing.adapters.vault import Vault
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import AgentState, Deployment, Generation, Instance
from agent_servicing.core.status import DeploymentStatus, InstanceStatus
from agent_servicing.core.versions import Change, SourceVersion
from agent_servicing.ports import Commit, VersionSource
from agent_servicing.ports.outward import Outside
from agent_servicing.services.agent_upgrade import UpgradeRequest
from agent_servicing.services.all import Services, build_services
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import Secrets
from agent_servicing.settings import Settings
from agent_servicing.store import audit
from agent_servicing.store.database import Database
from agent_servicing.store.sql import SqlStore
from agent_servicing.testing.clock import START, CountingIds, VirtualClock
from agent_servicing.testing.memory import MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.outward import MemorySender, MemoryTracker
from tests.store_builders import a_manifest

AGENT = "WowMemory"
ADA = "ada"

AGENT_TOML = """
[agent]
id = "SomethingElse"
[source]
path = "."
[run]
command = ["serve"]
instances = {instances}
[config]
schema = "config.schema.json"
defaults = {{ timeout_seconds = {timeout_seconds}, api_key = "{api_key}" }}
[state]
directory = "state"
writes = {writes}
reads = {reads}
[upgrade]
{upgrade}
"""


def agent_toml(
    *, instances: int = 2, timeout_seconds: int = 30, api_key: str = "k1", writes: int = 1, reads: Sequence[int] = (1,), upgrade: str = ""
) -> str:
    return AGENT_TOML.format(
        instances=instances, timeout_seconds=timeout_seconds, api_key=api_key, writes=writes, reads=list(reads), upgrade=upgrade
    )


class TestBus:
    """Counts what was published."""

    __test__ = False

    def __init__(self) -> None:
        self.published: list[str] = []

    async def publish(self, topic: str) -> None:
        self.published.append(topic)

    def subscribe(self, topic: str) -> AsyncIterator[None]:
        raise AssertionError("services do not listen")


@dataclass
class WrittenSource:
    """Implements `VersionSource` with what the test put into `found`; `fails` is raised instead."""

    found: dict[str, SourceVersion] = field(default_factory=dict)
    fails: Exception | None = None

    def put(
        self, version: str, *, manifest_text: str | None = None, ref: str = "", kind: str = "fixed", text: str = "", schema: str = ""
    ) -> None:
        self.found[version] = SourceVersion(
            version=version,
            ref=ref or f"ref-{version}",
            released_at=START,
            author="Release team",
            changes=(Change(kind=kind, text=text or f"change of {version}"),),
            manifest_text=manifest_text,
            files={"config.schema.json": schema} if schema else {},
        )

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        if self.fails is not None:
            raise self.fails
        return list(self.found.values())

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        raise AssertionError("services fetch nothing")

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> None:
        return None


@dataclass(kw_only=True)
class World:
    uploads: FolderUploads
    sources: dict[str, VersionSource]
    services: Services
    database: Database
    store: SqlStore
    clock: VirtualClock
    bus: TestBus
    source: WrittenSource
    metrics: MemoryMetrics

    async def add(self, version: str = "1.0.0", *more: str) -> Deployment:
        """An agent that serves `version`; `more` are other versions its source has."""
        for each in (version, *more):
            if each not in self.source.found:
                self.source.put(each)
        _, deployment = await self.services.fleet.add(a_manifest(), version=version, actor=ADA)
        await self.finish()
        return deployment

    async def engine(self, change: Callable[[AgentState], AgentState], *events: Event, done: bool = True) -> AgentState:
        """One turn of a pretended engine: whatever `change` makes of the state is committed, wishes are handled."""
        self.clock.advance(1)
        leases = await self.store.claim(self.clock.now(), lease_seconds=30, limit=10)
        lease = next(lease for lease in leases if lease.agent == AGENT)
        state = await self.store.load(AGENT)
        handled = tuple(intent.intent for intent in state.intents) if done else ()
        commit = Commit(state=change(state), events=events, intents_done=handled, next_at=self.clock.now())
        assert await self.store.commit(lease, commit, self.clock.now())
        return commit.state

    async def finish(self, status: DeploymentStatus = DeploymentStatus.COMPLETED) -> None:
        """The oldest open deployment ends so; completed, its version serves with all its instances ready."""

        def change(state: AgentState) -> AgentState:
            first, *rest = state.deployments
            ended = replace(first, status=status, started_at=self.clock.now(), finished_at=self.clock.now())
            state = replace(state, deployments=(ended, *rest))
            return serving(state, first.to_version, self.clock) if status is DeploymentStatus.COMPLETED else state

        await self.engine(change)

    async def begin(self, status: DeploymentStatus = DeploymentStatus.IN_PROGRESS) -> Deployment:
        """The oldest open deployment is under way."""

        def change(state: AgentState) -> AgentState:
            first, *rest = state.deployments
            return replace(state, deployments=(replace(first, status=status, started_at=self.clock.now()), *rest))

        return (await self.engine(change)).deployments[0]

    async def upgraded_to(self, *versions: str) -> None:
        for version in versions:
            if version not in self.source.found:
                self.source.put(version)
                await self.services.versions.refresh(AGENT)
            await self.upgrade(version)
            await self.finish()

    async def upgrade(self, version: str, **changes: object) -> Deployment:
        return await self.services.upgrades.request(AGENT, an_upgrade(version, **changes), actor=ADA)

    async def audit(self) -> list[tuple[str, object]]:
        """(type, status) of every audit entry, oldest first."""
        async with self.database.read() as connection:
            found = await audit.export_page(connection, (), says=None, before=None, limit=1000)
        return [(each.event.type, each.event.data.get("status")) for each in reversed(found)]


def an_upgrade(version: str, **changes: object) -> UpgradeRequest:
    return replace(UpgradeRequest(target_version=version, reason="faster"), **changes)  # type: ignore[arg-type]


def serving(state: AgentState, version: str, clock: VirtualClock) -> AgentState:
    """The state with one more generation, of this version, that serves with every instance ready."""
    number = state.agent.next_generation
    agent = replace(state.agent, version=version, version_deployed_at=clock.now(), stable=number, next_generation=number + 1)
    generation = Generation(number=number, version=version, created_at=clock.now(), desired=agent.instances)
    ready = InstanceStatus.READY
    instances = tuple(
        Instance(instance=f"g{number}-{place}-1", generation=number, version=version, place=place, status=ready, created_at=clock.now())
        for place in range(1, agent.instances + 1)
    )
    return replace(state, agent=agent, generations=(generation,), instances=instances)


@asynccontextmanager
async def open_world(folder: Path, **real: VersionSource) -> AsyncIterator[World]:
    """`real` are sources by their kind, beside the written one."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 (before anything else runs)
    clock, ids, bus, source = VirtualClock(), CountingIds(), TestBus(), WrittenSource()
    runtime = MemoryRuntime(clock)
    metrics = MemoryMetrics(clock, MemoryRouter(), runtime)
    settings = Settings(data_dir=folder)
    sources: dict[str, VersionSource] = {}
    uploads = FolderUploads(folder, sources=sources, ids=ids, clock=clock)
    sources |= {kind: WithUploads(each, uploads) for kind, each in {"git": source, **real}.items()}
    async with Database.open(f"sqlite:///{folder / 'test.db'}") as database:
        services = build_services(
            database=database,
            clock=clock,
            ids=ids,
            bus=bus,
            settings=settings,
            runtime=runtime,
            metrics=metrics,
            sources=sources,
            uploads=uploads,
            secrets=Secrets(
                database=database,
                clock=clock,
                ids=ids,
                settings=settings,
                cipher=Vault(data_dir=settings.data_dir),
                redactor=(redactor := Redactor()),
            ),
            redactor=redactor,
            outside=Outside(sender=MemorySender(), tracker=MemoryTracker()),
            passwords=Argon2Passwords(time_cost=1, memory_kib=8, parallelism=1),
        )
        store = SqlStore(database=database, ids=ids, event_retention_count=settings.event_retention_count)
        yield World(
            uploads=uploads,
            sources=sources,
            services=services,
            database=database,
            store=store,
            clock=clock,
            bus=bus,
            source=source,
            metrics=metrics,
        )
