"""Puts staging together: its runtime apart from production, copies of the state, whoever runs the tests, and the reconciler. For `open_app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from agent_servicing.adapters.runtime.apart import ApartRuntime
from agent_servicing.adapters.staging.suites import ProcessSuites
from agent_servicing.adapters.state.copies import FolderStateCopies
from agent_servicing.adapters.state.snapshots import FolderSnapshots
from agent_servicing.ports import AgentClient, Clock, ConfigChannel, EventBus, Ids, Masker, Runtime
from agent_servicing.reconcile.staging.bench import Means
from agent_servicing.reconcile.staging.reconciler import StagingReconciler
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database
from agent_servicing.store.staging import SqlStagingRuns


@asynccontextmanager
async def open_staging(
    settings: Settings,
    *,
    database: Database,
    live: Runtime,
    snapshots: FolderSnapshots,
    client: AgentClient,
    channel: ConfigChannel | None,
    clock: Clock,
    ids: Ids,
    bus: EventBus,
    masker: Masker,
    router_url: str,
) -> AsyncIterator[StagingReconciler]:
    """Whatever an earlier server left of staging is gone when this has opened."""
    async with AsyncExitStack() as stack:
        apart = ApartRuntime(settings=settings, live=live, clock=clock, ids=ids, router_url=router_url)
        await stack.enter_async_context(apart)
        copies = await stack.enter_async_context(FolderStateCopies(snapshots=snapshots, folders=apart.folders, clock=clock))
        yield StagingReconciler(
            runs=SqlStagingRuns(database=database, ids=ids, event_retention_count=settings.event_retention_count),
            suites=ProcessSuites(data_dir=settings.data_dir, clock=clock, ids=ids),
            means=Means(runtime=apart, live=live, client=client, clock=clock, channel=channel, copies=copies),
            bus=bus,
            limit=settings.max_concurrent_staging_runs,
            masker=masker,
        )
