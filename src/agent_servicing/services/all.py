"""All services in one value: `bootstrap` builds it, `web` is handed it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_servicing.ports import Clock, EventBus, Ids, InstanceTokens, LimitsInstances, Metrics, Router, Runtime, VersionSource
from agent_servicing.ports.access import IdentityProvider, Passwords
from agent_servicing.ports.audit import AuditArchive, AuditSink
from agent_servicing.ports.outward import Outside
from agent_servicing.ports.state import SetAsides, Snapshots
from agent_servicing.ports.uploads import Uploads
from agent_servicing.services.access import Access
from agent_servicing.services.agent_lock import AgentLock
from agent_servicing.services.agent_queue import AgentQueue
from agent_servicing.services.agent_upgrade import AgentUpgrade
from agent_servicing.services.analysis import Analysis
from agent_servicing.services.approvals import Approvals
from agent_servicing.services.audit_exports import AuditExports
from agent_servicing.services.audit_logger import AuditLogger
from agent_servicing.services.audit_retention import AuditRetention
from agent_servicing.services.audit_sinks import AuditSinks
from agent_servicing.services.backups import Backups
from agent_servicing.services.config_hotpatch import ConfigHotpatch
from agent_servicing.services.config_reader import ConfigReader, Known
from agent_servicing.services.custom_patches import CustomPatches
from agent_servicing.services.events import EventLog
from agent_servicing.services.fleet import Fleet
from agent_servicing.services.generations import Generations, Probes
from agent_servicing.services.idempotency import Idempotency
from agent_servicing.services.oidc import OidcSignIn
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.reports import AgentReports
from agent_servicing.services.rollback import Rollback
from agent_servicing.services.schedule import Schedule
from agent_servicing.services.secret_delivery import SecretDelivery
from agent_servicing.services.secrets import Secrets
from agent_servicing.services.sessions import Sessions
from agent_servicing.services.sign_in import SignIn
from agent_servicing.services.staging import Staging
from agent_servicing.services.states import AgentStates
from agent_servicing.services.telling import Telling, build_telling
from agent_servicing.services.thresholds import Thresholds
from agent_servicing.services.upcoming import Preview
from agent_servicing.services.users import Users
from agent_servicing.services.version_manager import VersionManager
from agent_servicing.services.version_standing import VersionStanding
from agent_servicing.settings import Settings
from agent_servicing.store.backup.build import Kept
from agent_servicing.store.database import Database
from agent_servicing.store.known import KnownStates


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    fleet: Fleet
    generations: Generations
    versions: VersionManager
    standing: VersionStanding
    patches: CustomPatches
    upgrades: AgentUpgrade
    rollbacks: Rollback
    queue: AgentQueue
    locks: AgentLock
    schedule: Schedule
    preview: Preview
    audit: AuditLogger
    audit_exports: AuditExports
    audit_sinks: AuditSinks
    audit_retention: AuditRetention
    access: Access
    approvals: Approvals
    users: Users
    sessions: Sessions
    sign_in: SignIn
    oidc: OidcSignIn
    idempotency: Idempotency
    events: EventLog
    reports: AgentReports
    analysis: Analysis
    hotpatch: ConfigHotpatch
    config: ConfigReader
    secrets: Secrets
    secret_delivery: SecretDelivery
    states: AgentStates
    telling: Telling
    staging: Staging
    thresholds: Thresholds
    backups: Backups
    mark: Callable[[], int | None]
    """See `Database.mark`."""


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
    outside: Outside,
    passwords: Passwords,
    identities: IdentityProvider | None = None,
    router: Router | None = None,
    sinks: Sequence[AuditSink] = (),
    archive: AuditArchive | None = None,
    configs: Known | None = None,
    probes: Probes | None = None,
    snapshots: Snapshots | None = None,
    asides: SetAsides | None = None,
    uploads: Uploads | None = None,
    kept: Kept | None = None,
    states: KnownStates | None = None,
) -> Services:
    """Wire the services to one database and the drivers they read from. `redactor` is told every secret; the engine and the log use it too.
    `states`: what the engine knows of agents."""
    states = states or KnownStates(database)
    versions = VersionManager(database=database, states=states, clock=clock, ids=ids, bus=bus, settings=settings, sources=sources)
    able = _limitable(runtime)
    hotpatch = ConfigHotpatch(database=database, clock=clock, ids=ids, bus=bus, settings=settings, secrets=secrets, limitable=able)
    telling = build_telling(
        database=database, clock=clock, ids=ids, bus=bus, settings=settings, secrets=secrets, masks=redactor, to=outside, of=runtime
    )
    of_it: dict[str, Any] = {"versions": versions, "states": states, "runtime": runtime, "metrics": metrics, "masker": redactor}
    fleet = Fleet(database=database, clock=clock, ids=ids, bus=bus, settings=settings, **of_it)
    return Services(
        fleet=fleet,
        generations=Generations(database=database, states=states, clock=clock, router=router, known=configs, probes=probes),
        versions=versions,
        standing=VersionStanding(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        patches=CustomPatches(database=database, clock=clock, ids=ids, bus=bus, settings=settings, uploads=uploads),
        upgrades=AgentUpgrade(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        rollbacks=Rollback(database=database, clock=clock, ids=ids, bus=bus, settings=settings, snapshots=snapshots, asides=asides),
        queue=AgentQueue(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        approvals=Approvals(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        locks=AgentLock(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        schedule=Schedule(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        preview=Preview(database=database, clock=clock, settings=settings),
        **_audit(database=database, clock=clock, ids=ids, settings=settings, sinks=sinks, archive=archive),
        access=Access(database=database, clock=clock, ids=ids, settings=settings, instances=_tokens(runtime)),
        **_people(database=database, clock=clock, ids=ids, settings=settings, passwords=passwords, provider=identities),
        idempotency=Idempotency(database=database, clock=clock),
        events=EventLog(database=database),
        reports=AgentReports(database=database, clock=clock),
        analysis=Analysis(database=database),
        hotpatch=hotpatch,
        config=ConfigReader(database=database, states=states, clock=clock, hotpatch=hotpatch, known=configs, masker=redactor),
        secrets=secrets,
        telling=telling,
        staging=Staging(database=database, clock=clock, ids=ids, bus=bus, settings=settings),
        thresholds=Thresholds(database=database, clock=clock, ids=ids, settings=settings),
        backups=Backups(database=database, clock=clock, ids=ids, settings=settings, kept=kept),
        secret_delivery=SecretDelivery(database=database, secrets=secrets, hotpatch=hotpatch, fleet=fleet),
        mark=lambda: database.mark,
        states=AgentStates(database=database, clock=clock, ids=ids, settings=settings, snapshots=snapshots, asides=asides, runtime=runtime),
    )


def _tokens(runtime: Runtime) -> InstanceTokens | None:
    return runtime if isinstance(runtime, InstanceTokens) else None


def _limitable(runtime: Runtime) -> frozenset[str]:
    return runtime.limitable if isinstance(runtime, LimitsInstances) else frozenset()


def _audit(
    *, database: Database, clock: Clock, ids: Ids, settings: Settings, sinks: Sequence[AuditSink], archive: AuditArchive | None
) -> dict[str, Any]:
    common: dict[str, Any] = {"database": database, "clock": clock, "ids": ids, "settings": settings}
    delivering = AuditSinks(database=database, clock=clock, sinks=sinks)
    retention = AuditRetention(**common, sinks=delivering, archive=archive)
    reading = {"audit": AuditLogger(database=database), "audit_exports": AuditExports(**common)}
    return {**reading, "audit_sinks": delivering, "audit_retention": retention}


def _people(
    *, database: Database, clock: Clock, ids: Ids, settings: Settings, passwords: Passwords, provider: IdentityProvider | None
) -> dict[str, Any]:
    users = Users(database=database, clock=clock, ids=ids, settings=settings, passwords=passwords)
    sessions = Sessions(database=database, clock=clock, ids=ids, settings=settings)
    sign_in = SignIn(database=database, clock=clock, ids=ids, settings=settings, passwords=passwords, users=users, sessions=sessions)
    oidc = OidcSignIn(database=database, clock=clock, settings=settings, users=users, sessions=sessions, sign_in=sign_in, provider=provider)
    return {"users": users, "sessions": sessions, "sign_in": sign_in, "oidc": oidc}
