"""A database with something in every table that the tests of backups look at."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from agent_servicing.core.status import DeploymentStatus
from agent_servicing.store.backup.build import Wanted, build
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.store.tables import reports, secrets
from agent_servicing.testing.clock import START, CountingIds
from tests.store_builders import a_deployment, a_version, add, an_agent, an_event, completed, put_deployments, put_versions

ODD = "quotes ' \" \\ \n tabs \t and ü 🦄 ￿"
SEALED = bytes(range(256))


class Nothing:
    """No files besides the database."""

    def gather(self, folder: Path, *, key: bool, state: bool) -> None:
        """Nothing."""


async def fill(url: str, *, events: int = 40) -> None:
    async with Database.open(url) as database:
        await add(database, an_agent(), an_agent("WowCache"))
        await put_versions(database, a_version("1.0.0"), a_version("1.1.0", problem=ODD))
        await put_deployments(
            database, completed("upg-0", "1.0.0", START), a_deployment(status=DeploymentStatus.IN_PROGRESS, started_at=START, reason=ODD)
        )
        async with database.write() as connection:
            told = [an_event(reason=ODD, audit=n % 2 == 0, data={"number": n, "share": 0.1, "text": ODD}) for n in range(events)]
            await append(connection, CountingIds(), told, keep=100_000)
            sealed = {"name": "api_key", "version": 1, "agent": None, "sealed": SEALED, "fingerprint": "f" * 8}
            await connection.execute(insert(secrets).values(**sealed, created_at=START, created_by="ada"))
            row = {"agent": "WowMemory", "generation": 1, "instance": "g1-1", "metric": "recall", "at": START + timedelta(microseconds=1)}
            await connection.execute(insert(reports), [{**row, "value": value} for value in (0.1, 1e300, -0.0)])
            await connection.execute(reports.delete().where(reports.c.value == -0.0))


def back_up(url: str, folder: Path, name: str = "one.backup") -> Path:
    target = folder / name
    build(url, target, kept=Nothing(), wanted=Wanted(), at=START, scratch=folder / "scratch")
    return target
