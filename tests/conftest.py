"""Fixtures every suite shares."""

from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.postgres_server import TEMPLATE, PostgresServer, a_postgres_server, make_template
from tests.room import room

# A deadline for each example would be a timing assertion.
settings.register_profile("servicing", deadline=None)
settings.load_profile("servicing")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """First of all, so that a test's time limit does not run while it waits."""
    with room(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL, one for each process of the test run."""
    with a_postgres_server() as server:
        server.sql(f"CREATE DATABASE {TEMPLATE}")
        make_template(server.url(TEMPLATE))
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A database of this test's own, with the newest schema."""
    name = postgres.new_database(template=TEMPLATE)
    yield postgres.url(name)
    postgres.drop(name)
