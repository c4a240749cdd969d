"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.api_world import ApiWorld, open_world


@pytest.fixture
async def api_world(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ApiWorld]:
    async with open_world(tmp_path) as world:
        yield world
