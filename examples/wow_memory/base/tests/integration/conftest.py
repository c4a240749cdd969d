"""Gives the integration tests a client for the running agent: `pytest tests/integration --url http://127.0.0.1:PORT`."""

from collections.abc import Iterator

import httpx
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--url", required=True, help="address of the agent under test")


@pytest.fixture
def agent(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=request.config.getoption("--url"), timeout=10) as client:
        yield client
