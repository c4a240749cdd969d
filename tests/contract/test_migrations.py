"""A database that an older version wrote: it is brought up to date, and what was in it is still there."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, insert, text

from agent_servicing.core.schedule import Line
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.store import codec
from agent_servicing.store.codec import AgentBody
from agent_servicing.store.line import load_line
from agent_servicing.store.tables import agents, deployments
from agent_servicing.testing.clock import START
from tests.store_builders import a_deployment, an_agent, open_store, sqlite_url

pytestmark = pytest.mark.anyio


def bring_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "agent_servicing.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def test_what_waited_before_there_was_a_schedule_still_waits(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    agent, waiting = an_agent(), a_deployment()
    with engine.begin() as connection:
        bring_to(connection, "0001")
        body = codec.encode_agent(AgentBody(agent=agent))
        connection.execute(
            insert(agents).values(
                agent=agent.agent,
                status=agent.status,
                created_at=START,
                manifest=codec.encode_manifest(agent.manifest),
                body=body,
                due_at=START,
            )
        )
        connection.execute(
            insert(deployments).values(
                deployment=waiting.deployment,
                agent=agent.agent,
                kind=waiting.kind,
                status=waiting.status,
                to_version=waiting.to_version,
                requested_at=START,
                body=codec.encode_deployment(waiting),
            )
        )
    engine.dispose()
    async with open_store(sqlite_url(tmp_path)) as (database, store):
        state = await store.load(agent.agent)
        assert (state.deployments, state.lock, state.line) == ((waiting,), None, Line())
        assert state.deployments[0].status is DeploymentStatus.QUEUED
        async with database.read() as connection:
            assert await load_line(connection) == Line()
            assert (await connection.execute(text("SELECT edits FROM deployments"))).scalar_one() == 0
