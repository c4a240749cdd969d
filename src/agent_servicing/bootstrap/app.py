"""The composition root: settings in, the whole server out, everything it opened closed again in reverse order."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import structlog
from anyio import to_thread
from fastapi import FastAPI

from agent_servicing.adapters.agent_http import HttpAgentClient
from agent_servicing.adapters.apprise_sender import AppriseSender
from agent_servicing.adapters.audit.archive import FolderArchive
from agent_servicing.adapters.audit.opening import open_sinks
from agent_servicing.adapters.config.channel import InstanceChannel
from agent_servicing.adapters.issue_trackers import IssueTrackers
from agent_servicing.adapters.oidc import OidcProvider
from agent_servicing.adapters.passwords import Argon2Passwords
from agent_servicing.adapters.registry import installed_drivers, load_driver
from agent_servicing.adapters.sources.uploads import FolderUploads, WithUploads
from agent_servicing.adapters.state.epochs import FolderEpochs
from agent_servicing.adapters.state.hooks import StateHooks
from agent_servicing.adapters.state.snapshots import FolderSnapshots
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.adapters.vault import Vault
from agent_servicing.adapters.verification.verifier import ProcessVerifier
from agent_servicing.bootstrap.backup import copy_before_migrating
from agent_servicing.bootstrap.kept import KeptFiles
from agent_servicing.bootstrap.staging import open_staging
from agent_servicing.core.errors import PermanentError, ServicingError, TemporaryError, Unavailable
from agent_servicing.core.limits import Limits
from agent_servicing.ports import (
    Clock,
    ConfiguresInstances,
    EventBus,
    Ids,
    Runtime,
    VersionSource,
)
from agent_servicing.ports.outward import Outside
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.pulse import Pulse
from agent_servicing.reconcile.staging.reconciler import StagingReconciler
from agent_servicing.reconcile.supervisor import Supervisor
from agent_servicing.services.all import Services, build_services
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import Secrets
from agent_servicing.settings import Settings, database_url
from agent_servicing.store.database import Database
from agent_servicing.store.ownership import Ownership, sole_server
from agent_servicing.store.reports import SqlReports
from agent_servicing.store.sql import SqlStore
from agent_servicing.web.app import create_app
from agent_servicing.web.context import EngineStats

log = structlog.get_logger(__name__)

SAMPLE_SECONDS = 5.0
"""Between readings of every agent's counters for the metrics view."""

START_LINK_SECONDS = 3600.0

ACCESS_SECONDS = 30.0
"""Between writings of when tokens and sessions were used. A crash forgets that much."""

NOTIFY_SECONDS = 1.0
"""Between looks at what people are to be told of."""

CLEAR_SECONDS = 3600.0
"""Between looks for uploads that no version needs any more."""

ENGINE_SILENCE_SECONDS = 15.0
"""An engine that has not looped for so long is not alive; a loop never takes longer than a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What runs: the ASGI application and the loops beside it."""

    asgi: FastAPI
    services: Services
    supervisor: Supervisor
    staging: StagingReconciler
    admin_token: str
    setup_token: str | None
    router_url: str
    settings: Settings
    clock: Clock
    channel: InstanceChannel | None = None

    def stop_streams(self) -> None:
        """Before the HTTP server is told to end: it waits for answers under way, and subscriptions have no end of their own."""
        if self.channel is not None:
            self.channel.link.close()

    async def sign_in_path(self) -> str:
        """Where a browser is signed in as the admin, once, within the hour: for whoever stands at the terminal that started this."""
        admin = await self.services.access.authenticate(self.admin_token)
        if admin is None:
            raise Unavailable("the admin token was revoked meanwhile", code="admin_token")
        link = await self.services.sign_in.own_link(admin, seconds=START_LINK_SECONDS)
        return f"/sign-in#{link.token}"

    async def run_loops(self) -> None:
        """The engine and the timers, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.supervisor.run)
            tasks.start_soon(self.staging.run)
            tasks.start_soon(self._sample)
            tasks.start_soon(self._keep_access)
            tasks.start_soon(self._tell)
            tasks.start_soon(self._clear)
            tasks.start_soon(self.services.telling.outward.run)
            tasks.start_soon(self.services.telling.issues.run)
            tasks.start_soon(self.services.backups.run)
            tasks.start_soon(self.services.audit_sinks.run)
            tasks.start_soon(self.services.audit_retention.run)
            if self.settings.version_refresh_seconds > 0:
                tasks.start_soon(self._refresh)

    async def _sample(self) -> None:
        """So that the first look at an agent's metrics has something to compare with."""
        while True:
            with suppress(TemporaryError):  # a database that is away is reported by the engine
                await self.services.fleet.sample()
            await self.clock.sleep(SAMPLE_SECONDS)

    async def _keep_access(self) -> None:
        """When tokens and sessions were used last, and an end to those whose time is over."""
        while True:
            await self.clock.sleep(ACCESS_SECONDS)
            with suppress(TemporaryError):
                await self.services.access.flush()
                await self.services.sessions.flush()

    async def _tell(self) -> None:
        while True:
            with suppress(
                ServicingError, TemporaryError
            ):  # a database that is away is reported by the engine; the log is read on from here
                await self.services.telling.notifications.follow()
            await self.clock.sleep(NOTIFY_SECONDS)

    async def _clear(self) -> None:
        """Uploads that nobody needs any more, such as those of removed agents."""
        while True:
            try:
                await self.services.patches.clear()
            except (ServicingError, TemporaryError) as error:
                log.warning("uploads_not_cleared", problem=str(error))
            await self.clock.sleep(CLEAR_SECONDS)

    async def _refresh(self) -> None:
        while True:
            await self.clock.sleep(self.settings.version_refresh_seconds)
            try:
                await self.services.versions.refresh_all()
            except (ServicingError, TemporaryError, PermanentError) as error:
                log.warning("versions_not_refreshed", problem=str(error))


class HasLife(Protocol):
    """A router that knows whether its data plane is there."""

    @property
    def alive(self) -> bool: ...


@asynccontextmanager
async def open_app(settings: Settings, *, api_url: str, redactor: Redactor | None = None) -> AsyncIterator[App]:
    """Adopt or start everything below the API. `api_url` is where instances will reach this server; `redactor` is told every secret."""
    redactor = redactor or Redactor()
    async with AsyncExitStack() as stack:
        clock, ids = SystemClock(), RandomIds()
        # Before the schema is touched: another server may be working with the one there is.
        ownership = await stack.enter_async_context(sole_server(database_url(settings)))
        await to_thread.run_sync(copy_before_migrating, settings)
        database = await stack.enter_async_context(Database.open(database_url(settings)))
        # The data plane before the runtime: instances that are started must have somewhere to be reached.
        router = await stack.enter_async_context(load_driver("router", "haproxy").open(settings, clock))  # type: ignore[attr-defined]
        metrics = load_driver("metrics", "haproxy")(router)
        sources, uploads = await open_sources(settings, clock, ids)
        runtime = await stack.enter_async_context(
            load_driver("runtime", "process")(
                settings=settings, sources=sources, clock=clock, ids=ids, server_url=api_url, router_url=router.url
            )
        )
        client = await stack.enter_async_context(HttpAgentClient(clock=clock))
        secrets = Secrets(database=database, clock=clock, ids=ids, settings=settings, cipher=_vault(settings), redactor=redactor)
        channel = await _channel(stack, runtime, clock, secrets=secrets)
        verifier = await stack.enter_async_context(ProcessVerifier(data_dir=settings.data_dir, router_url=router.url, clock=clock, ids=ids))
        snapshots, epochs = await _state(stack, settings, clock, runtime)
        bus = await stack.enter_async_context(_bus(settings))
        store = _store(database, ids, settings, may_work=ownership.confirm if ownership is not None else None)
        # The database is ours alone: whoever held a lease was killed, and its agents need not wait for the lease to run out.
        if settings.database_url is None or ownership is not None:
            await store.drop_leases()
        acting: dict[str, Any] = {"runtime": runtime, "router": router, "metrics": metrics, "client": client, "clock": clock}
        seeing = {"verifier": verifier, "reports": SqlReports(database=database), "masker": redactor, "channel": channel}
        engine = _engine(settings, acting | seeing | {"store": store, "snapshots": snapshots, "restores": epochs})
        drivers = {"database": database, "clock": clock, "ids": ids, "bus": bus, "runtime": runtime, "metrics": metrics, "sources": sources}
        reading = {"router": router, "configs": channel, "snapshots": snapshots, "asides": epochs, "probes": engine.pulse}
        reading |= {"states": store.known, **await _own(stack, settings, clock, ids)}
        services = build_services(
            **drivers, **reading, **_outside(clock), secrets=secrets, redactor=redactor, settings=settings, uploads=uploads
        )
        await services.telling.load()
        given = {"database": database, "clock": clock, "ids": ids, "bus": bus, "live": runtime, "masker": redactor, "client": client}
        opening = open_staging(settings, **given, snapshots=snapshots, channel=channel, router_url=router.url)
        staging = await stack.enter_async_context(opening)
        lease_seconds, concurrency = settings.lease_seconds, settings.max_concurrent_reconciles
        supervisor = Supervisor(engine=engine, store=store, bus=bus, clock=clock, lease_seconds=lease_seconds, concurrency=concurrency)
        ready, link = _readiness(supervisor, clock, router, store, ownership), channel.link if channel is not None else None
        asgi = create_app(
            services,
            settings=settings,
            clock=clock,
            ids=ids,
            bus=bus,
            readiness=ready,
            engine=lambda: _stats(supervisor),
            instance_link=link,
        )
        yield App(
            asgi=asgi,
            services=services,
            supervisor=supervisor,
            staging=staging,
            **await _tokens(services, settings),
            router_url=router.url,
            settings=settings,
            clock=clock,
            channel=channel,
        )


def _readiness(
    supervisor: Supervisor, clock: Clock, router: HasLife, store: SqlStore, ownership: Ownership | None
) -> dict[str, Callable[[], Awaitable[None]]]:
    return {"engine": _alive(supervisor, clock), "router": _routing(router), "database": _reachable(store, ownership)}


def _outside(clock: Clock) -> dict[str, Any]:
    """Who tells somebody outside."""
    return {"outside": Outside(sender=AppriseSender(clock=clock), tracker=IssueTrackers())}


async def _tokens(services: Services, settings: Settings) -> dict[str, Any]:
    return {
        "admin_token": await services.access.ensure_admin_token(settings.data_dir),
        "setup_token": await services.users.ensure_setup_token(),
    }


async def _own(stack: AsyncExitStack, settings: Settings, clock: Clock, ids: Ids) -> dict[str, Any]:
    """What concerns this server and its people only."""
    own: dict[str, Any] = {"kept": KeptFiles(settings), "passwords": Argon2Passwords()}
    own["sinks"] = open_sinks(settings.audit_sinks, clock)
    own["archive"] = FolderArchive(settings.audit_archive_directory or settings.data_dir / "audit-archive")
    if settings.oidc_issuer is not None and settings.oidc_client_id is not None:
        named: dict[str, Any] = {"issuer": settings.oidc_issuer, "client_id": settings.oidc_client_id, "scope": settings.oidc_scope}
        provider = OidcProvider(**named, secret_file=settings.oidc_client_secret_file, clock=clock, ids=ids)
        own["identities"] = await stack.enter_async_context(provider)
    return own


def _vault(settings: Settings) -> Vault:
    return Vault(data_dir=settings.data_dir, given=settings.secrets_key.get_secret_value() if settings.secrets_key else None)


def _stats(supervisor: Supervisor) -> EngineStats:
    return EngineStats(reconciles=supervisor.turns, failures=supervisor.failures, reconcile_seconds=supervisor.seconds_in_turns)


async def _channel(stack: AsyncExitStack, runtime: Runtime, clock: Clock, *, secrets: Secrets) -> InstanceChannel | None:
    """None with a runtime whose instances cannot be given a configuration while they run."""
    if not isinstance(runtime, ConfiguresInstances):
        return None
    return await stack.enter_async_context(InstanceChannel(runtime=runtime, clock=clock, secrets=secrets))


async def _state(stack: AsyncExitStack, settings: Settings, clock: Clock, runtime: Runtime) -> tuple[FolderSnapshots, FolderEpochs]:
    """No agent is asked anything with a runtime whose instances have no token of ours."""
    hooks = await stack.enter_async_context(StateHooks(runtime=runtime)) if isinstance(runtime, ConfiguresInstances) else None
    snapshots = await stack.enter_async_context(FolderSnapshots(data_dir=settings.data_dir, clock=clock, hooks=hooks))
    return snapshots, await stack.enter_async_context(FolderEpochs(snapshots=snapshots, hooks=hooks, clock=clock))


def _store(database: Database, ids: Ids, settings: Settings, *, may_work: Callable[[], Awaitable[None]] | None) -> SqlStore:
    return SqlStore(
        database=database,
        ids=ids,
        event_retention_count=settings.event_retention_count,
        max_concurrent_deployments=settings.max_concurrent_deployments,
        may_work=may_work,
    )


def _engine(settings: Settings, ports: Mapping[str, Any]) -> Engine:
    """`ports` are the engine's own parameters of those names."""
    runtime, router, client, store, clock = (ports[name] for name in ("runtime", "router", "client", "store", "clock"))
    interval_seconds = settings.reconcile_interval_seconds
    return Engine(
        **ports,
        limits=Limits(
            install_timeout_seconds=settings.install_timeout_seconds,
            stop_grace_seconds=settings.stop_grace_seconds,
            idle_interval_seconds=interval_seconds,
        ),
        action_timeout_seconds=settings.action_timeout_seconds,
        pulse=Pulse.of(runtime=runtime, router=router, client=client, store=store, clock=clock, interval_seconds=interval_seconds),
    )


async def open_sources(settings: Settings, clock: Clock, ids: Ids) -> tuple[dict[str, VersionSource], FolderUploads]:
    """Every installed version source by its kind, each with what people uploaded for it."""
    sources: dict[str, VersionSource] = {}
    uploads = FolderUploads(settings.data_dir, sources=sources, ids=ids, clock=clock)
    await uploads.open()
    for kind in installed_drivers("source"):
        sources[kind] = WithUploads(load_driver("source", kind)(settings.data_dir), uploads)
    return sources, uploads


def _bus(settings: Settings) -> AbstractAsyncContextManager[EventBus]:
    """A driver by its name, or by the scheme of its URL."""
    chosen = settings.event_bus
    name = "nats" if "://" in chosen else chosen
    url = chosen if "://" in chosen else database_url(settings)
    opened: AbstractAsyncContextManager[EventBus] = load_driver("events", name)(url)
    return opened


def _routing(router: HasLife) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        if not router.alive:
            raise Unavailable("the data plane is down; it is being started again")

    return check


def _reachable(store: SqlStore, ownership: Ownership | None) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        await store.next_due()
        if ownership is not None:
            await ownership.confirm()

    return check


def _alive(supervisor: Supervisor, clock: Clock) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        silence = clock.monotonic() - supervisor.last_turn_at
        if silence > ENGINE_SILENCE_SECONDS:
            raise Unavailable(f"the engine has not looked at anything for {silence:.0f} s")

    return check
