"""All services in one value: `bootstrap` builds it, `web` is handed it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_servicing.ports import Clock, EventBus, Ids, InstanceTokens, LimitsInstances, Metrics, Router, Runtime, VersionSource
from agent_servicing.ports.audit import AuditSink
from agent_servicing.ports.state import SetAsides, Snapshots
from agent_servicing.services.access import Access
from agent_servicing.services.agent_lock import AgentLock
from agent_servicing.services.agent_queue import AgentQueue
from agent_servicing.services.agent_upgrade import AgentUpgrade
from agent_servicing.services.analysis import Analysis
from agent_servicing.services.audit_logger import AuditLogger
from agent_servicing.services.audit_sinks import AuditSinks
from agent_servicing.services.backups import Backups
from agent_servicing.services.config_hotpatch import ConfigHotpatch
from agent_servicing.services.config_reader import ConfigReader, Known
from agent_servicing.services.events import EventLog
from agent_servicing.services.fleet import Fleet
from agent_servicing.services.generations import Generations
from agent_servicing.services.idempotency import Idempotency
from agent_servicing.services.notifications import Notifications
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.reports import AgentReports
from agent_servicing.services.rollback import Rollback
from agent_servicing.services.schedule import Schedule
from agent_servicing.services.secret_delivery import SecretDelivery
from agent_servicing.services.secrets import Secrets
from agent_servicing.services.staging import Staging
from agent_servicing.services.states import AgentStates
from agent_servicing.services.upcoming import Preview
from agent_servicing.services.version_manager import VersionManager
from agent_servicing.services.version_standing import VersionStanding
from agent_servicing.settings import Settings
from agent_servicing.store.backup.build import Kept
from agent_servicing.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    fleet: Fleet
    generations: Generations
    versions: VersionManager
    standing: VersionStanding
    upgrades: AgentUpgrade
    rollbacks: Rollback
    queue: AgentQueue
    locks: AgentLock
    schedule: Schedule
    preview: Preview
    audit: AuditLogger
    audit_sinks: AuditSinks
    access: Access
    idempotency: Idempotency
    events: EventLog
    reports: AgentReports
    analysis: Analysis
    hotpatch: ConfigHotpatch
    config: ConfigReader
    secrets: Secrets
    secret_delivery: SecretDelivery
    states: AgentStates
    staging: Staging
    notifications: Notifications
    backups: Backups


def build_services(
    *,
    database: Database,
    clock: Clock,
    ids: Ids,
    bus: EventBus,
    settings: Settings,
    runtime: Runtime,
    metrics: Metrics,
    sources: Mapping[str, VersionSource],
    secrets: Secrets,
    redactor: Redactor,
    router: Router | None = None,
    sinks: Sequence[AuditSink] = (),
    configs: Known | None = None,
    snapshots: Snapshots | None = None,
    asides: SetAsides | None = None,
    kept: Kept | None = None,
) -> Services:
    """Wire the services to one database and the drivers they read from. `redactor` is told every secret; the engine and the log use it too."""
    versions = VersionManager(database=database, clock=clock, ids=ids, bus=bus, settings=settings, sources=sources)
    limitable = runtime.limitable if isinstance(runtime, LimitsInstances) else ()
    hotpatch = ConfigHotpatch(database=database, clock=clock, ids=ids, bus=bus, settings=settings, secrets=secrets, limitable=limitable)
    fleet = Fleet(
        database=database,
        clock=clock,
        ids=ids,
        bus=bus,
        settings=settings,
        versions=versions,
        runtime=runtime,
        metrics=metrics,
        masker=redactor,
    )
    return Services(
        fleet=fleet,
        generations=Generations(database=database, clock=clock, router=router, known=configs),
        versions=versions,
        standing=VersionStanding(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        upgrades=AgentUpgrade(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        rollbacks=Rollback(database=database, clock=clock, ids=ids, bus=bus, settings=settings, snapshots=snapshots, asides=asides),
        queue=AgentQueue(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        locks=AgentLock(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        schedule=Schedule(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        preview=Preview(database=database, clock=clock, settings=settings),
        audit=AuditLogger(database=database, clock=clock, ids=ids, settings=settings),
        audit_sinks=AuditSinks(database=database, clock=clock, sinks=sinks),
        access=Access(
            database=database,
            clock=clock,
            ids=ids,
            settings=settings,
            instances=runtime if isinstance(runtime, InstanceTokens) else None,
        ),
        idempotency=Idempotency(database=database, clock=clock),
        events=EventLog(database=database),
        reports=AgentReports(database=database, clock=clock),
        analysis=Analysis(database=database),
        hotpatch=hotpatch,
        config=ConfigReader(database=database, clock=clock, hotpatch=hotpatch, known=configs, masker=redactor),
        secrets=secrets,
        staging=Staging(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        notifications=Notifications(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        backups=Backups(database=database, clock=clock, ids=ids, settings=settings, kept=kept),
        secret_delivery=SecretDelivery(database=database, secrets=secrets, hotpatch=hotpatch, fleet=fleet),
        states=AgentStates(database=database, clock=clock, ids=ids, settings=settings, snapshots=snapshots, asides=asides, runtime=runtime),
    )
