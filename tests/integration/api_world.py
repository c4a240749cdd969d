"""A whole server in the test's process: real services, engine and SQLite, memory drivers, a clock that the test moves. `app` is the API over it."""
# ruff: noqa: ARG002  (the memory source answers for every manifest alike)

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from fastapi import FastAPI

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.adapters.passwords import Argon2Passwords
from agent_servicing.adapters.sources.uploads import FolderUploads, WithUploads
from agent_servicing.adapters.state.epochs import FolderEpochs, Hooks
from agent_servicing.adapters.state.snapshots import Exports, FolderSnapshots
from agent_servicing.adapters.system import RandomIds
from agent_servicing.adapters.vault import Vault
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.events import Event
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.versions import Change, SourceVersion
from agent_servicing.ports import VersionSource
from agent_servicing.ports.outward import Outside, Sender
from agent_servicing.reconcile.engine import Engine
from agent_servicing.services.access import Role
from agent_servicing.services.all import Services, build_services
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import Secrets
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.store.sql import SqlStore
from agent_servicing.testing.channel import MemoryChannel
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.outward import MemorySender, MemoryTracker
from agent_servicing.web.app import PREFIX, create_app
from agent_servicing.web.page import Page

AGENT = "WowMemory"
CHEAP_PASSWORDS = Argon2Passwords(time_cost=1, memory_kib=8, parallelism=1)
MANIFEST = """
[agent]
id = "WowMemory"
description = "Remembers"
[source]
path = "/srv/wow-memory"
[run]
command = ["serve", "--port", "{port}"]
instances = 2
[health]
path = "/healthz"
"""
UPGRADE = {"target_version": "1.3.0", "reason": "faster", "blue_green": {"steps": [50, 100], "monitor_seconds": 5}}

ENOUGH_TURNS = 600
"""A condition that has not come true after so many turns of the engine never will."""


class StateHooks(Hooks, Exports, Protocol):
    """What instances with the SDK do about their state."""


class MemorySource:
    """Implements `VersionSource` with versions the test names."""

    def __init__(self) -> None:
        self.names = ["1.2.4", "1.2.5"]
        self.schemas: dict[str, str] = {}
        self.manifest_text: str | None = None
        self.problem = ""

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        if self.problem:
            raise PermanentError(self.problem)
        change = Change(kind="fixed", text="Workflow timeout handling")
        return [
            SourceVersion(
                version=name,
                ref=f"ref-{name}",
                author="Release team",
                changes=(change,),
                manifest_text=self.manifest_text,
                files={"config.schema.json": self.schemas[name]} if name in self.schemas else {},
            )
            for name in self.names
        ]

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        raise AssertionError("the memory runtime fetches nothing")

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> None:
        return None


TALK_SECONDS = 5
"""How long each of the world's `conversations` lasts; then another one begins in its place."""


@dataclass(kw_only=True)
class ApiWorld:
    services: Services
    database: Database
    app: FastAPI
    admin_token: str
    clock: VirtualClock
    runtime: MemoryRuntime
    metrics: MemoryMetrics
    router: MemoryRouter
    source: MemorySource
    store: SqlStore
    engine: Engine
    bus: LocalEventBus
    redactor: Redactor
    channel: MemoryChannel
    sender: MemorySender = field(default_factory=MemorySender)
    tracker: MemoryTracker = field(default_factory=MemoryTracker)
    requests_per_second: int = 100
    conversations: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, role: str, agents: Sequence[str] | None = None, name: str | None = None) -> str:
        """A token of this role, made once."""
        key = name or f"{role}-{','.join(agents or ())}"
        if key not in self.tokens:
            self.tokens[key] = await self.services.access.create_token(key, Role(role), agents, actor="test")
        return self.tokens[key]

    @asynccontextmanager
    async def client(self, token: str | None) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers) as client:
            yield client

    async def turn(self) -> None:
        """One turn of the engine for every agent that is due, a second of traffic, a hint to the live views."""
        for lease in await self.store.claim(self.clock.now(), lease_seconds=30, limit=10):
            self.metrics.send(lease.agent, self.requests_per_second)
            for number in range(self.conversations):
                self.metrics.converse(lease.agent, f"conversation-{number}-{int(self.clock.monotonic()) // TALK_SECONDS}")
            await self.engine.turn(lease)
        self.clock.advance(1)
        await self.bus.publish("events")

    async def until(self, client: httpx.AsyncClient, upgrade: str, *statuses: str, agent: str = AGENT) -> dict[str, Any]:
        """Let the engine work until the deployment has one of these statuses; its view."""
        for _ in range(ENOUGH_TURNS):
            view = (await client.get(f"{PREFIX}/agents/{agent}/upgrades/{upgrade}")).json()
            if view["status"] in statuses:
                return dict(view)
            await self.turn()
        raise AssertionError(f"{upgrade} is {view['status']}: {view['message']}")

    async def add(self, client: httpx.AsyncClient, version: str = "1.2.5") -> dict[str, Any]:
        """The agent, added and serving."""
        manifest = self.source.manifest_text or MANIFEST
        answer = await client.post(f"{PREFIX}/agents", json={"manifest": manifest, "version": version})
        assert answer.status_code == 201, answer.text
        await self.until(client, answer.json()["upgrade_id"], "completed")
        return dict(answer.json())

    async def upgrade(self, client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
        """An upgrade that was accepted."""
        self.source.names = ["1.2.4", "1.2.5", "1.3.0", "1.4.0"]
        await client.post(f"{PREFIX}/agents/{AGENT}/versions/refresh")
        answer = await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={**UPGRADE, **changes})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def tell(self, *events: Event) -> None:
        """Write events as the store does, and hint as the engine does."""
        async with self.database.write() as connection:
            await append(connection, self.app.state.context.ids, events, keep=100_000)
        await self.bus.publish("events")


@asynccontextmanager
async def open_world(
    folder: Path, *, sender: Sender | None = None, hooks: StateHooks | None = None, **chosen: Any
) -> AsyncIterator[ApiWorld]:
    """With `hooks` agents are asked to export their state and to take records in."""
    clock, ids, bus, redactor = VirtualClock(), RandomIds(), LocalEventBus(), Redactor()
    settings = Settings(data_dir=folder, **chosen)
    runtime, router = MemoryRuntime(clock), MemoryRouter()
    sources: dict[str, VersionSource] = {}
    uploads = FolderUploads(folder, sources=sources, ids=ids, clock=clock)
    metrics, source, channel = MemoryMetrics(clock, router, runtime), MemorySource(), MemoryChannel(clock)
    sources |= {kind: WithUploads(source, uploads) for kind in ("path", "git")}
    memory, tracker = MemorySender(), MemoryTracker()
    async with (
        Database.open(f"sqlite:///{folder / 'test.db'}") as database,
        FolderSnapshots(data_dir=folder, clock=clock, hooks=hooks) as snapshots,
        FolderEpochs(snapshots=snapshots, hooks=hooks, clock=clock) as epochs,
    ):
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
            secrets=Secrets(database=database, clock=clock, ids=ids, settings=settings, cipher=Vault(data_dir=folder), redactor=redactor),
            redactor=redactor,
            outside=Outside(sender=sender or memory, tracker=tracker),
            passwords=CHEAP_PASSWORDS,
            router=router,
            configs=channel,
            snapshots=snapshots,
            asides=epochs,
        )
        store = SqlStore(database=database, ids=ids, event_retention_count=100_000)
        engine = Engine(
            store=store,
            runtime=runtime,
            router=router,
            metrics=metrics,
            client=MemoryClient(clock, runtime),
            clock=clock,
            limits=Limits(),
            action_timeout_seconds=5,
            masker=redactor,
            channel=channel,
            snapshots=snapshots,
            restores=epochs,
        )
        yield ApiWorld(
            services=services,
            database=database,
            app=create_app(
                services, settings=settings, clock=clock, ids=ids, bus=bus, readiness={"store": _fine}, page=Page(ids, folder / "no-page")
            ),
            admin_token=await services.access.ensure_admin_token(folder),
            clock=clock,
            runtime=runtime,
            metrics=metrics,
            router=router,
            source=source,
            store=store,
            engine=engine,
            bus=bus,
            redactor=redactor,
            channel=channel,
            sender=memory,
            tracker=tracker,
        )


async def _fine() -> None:
    return None
