"""What can be seen of a PostgreSQL database without changing anything. Called by `servicing doctor`."""

from dataclasses import dataclass

from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from agent_servicing.store.database import async_url, opening, place
from agent_servicing.store.ownership import holder
from agent_servicing.store.postgres import open_single


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """`schema` is the newest migration there, None for an empty database; `server` names who works with it, None for nobody."""

    place: str
    version: str
    schema: str | None
    server: str | None


async def inspect(url: str) -> DatabaseFacts | None:
    """None for SQLite, which is a file in the data directory. Raises PermanentError when the database cannot be reached."""
    target = async_url(url)
    if target.get_backend_name() == "sqlite":
        return None
    engine = open_single(target, application_name="agent-servicing doctor")
    try:
        with opening(target):
            async with engine.connect() as connection:
                version: str = (await connection.execute(text("SHOW server_version"))).scalar_one()
                schema = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
                return DatabaseFacts(place=place(target), version=version, schema=schema, server=await holder(connection))
    finally:
        await engine.dispose()
