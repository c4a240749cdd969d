"""What was built at the start is left out of the looks for garbage."""

import gc
from collections.abc import Iterator

import pytest

from agent_servicing.bootstrap import heap
from agent_servicing.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Making(VirtualClock):
    """Makes something lasting during each wait."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[list[object]] = []

    async def sleep(self, seconds: float) -> None:
        self.made.append([self])
        await super().sleep(seconds)


async def test_what_is_there_at_the_start_and_after_a_minute_is_looked_through_no_more() -> None:
    clock = Making()
    await heap.settle(clock)
    assert clock.monotonic() == heap.SETTLED_SECONDS
    assert len(clock.made) == 2
    looked_through = {id(each) for each in gc.get_objects()}
    assert not looked_through & {id(each) for each in clock.made}
    assert gc.get_threshold() == heap.THRESHOLDS
