"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.api_world import ApiWorld, open_world
from tests.integration.link_world import Linked, open_linked


@pytest.fixture
async def api_world(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ApiWorld]:
    async with open_world(tmp_path) as world:
        yield world


@pytest.fixture
async def linked(api_world: ApiWorld) -> AsyncIterator[Linked]:
    """Its agent serves with two instances; what the first is to have is known."""
    async with open_linked(api_world) as world:
        yield world
