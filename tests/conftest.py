"""Fixtures every suite shares."""

import pytest
from hypothesis import settings

# A deadline for each example would be a timing assertion.
settings.register_profile("servicing", deadline=None)
settings.load_profile("servicing")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
