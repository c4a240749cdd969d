"""Time, randomness, drivers by name and the in-process bus: the smallest adapters."""

from collections.abc import AsyncIterator
from datetime import UTC

import anyio
import pytest

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.adapters.registry import installed_drivers, load_driver
from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.errors import Invalid


def test_the_wall_clock_is_utc_and_the_other_one_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_ids_of_one_process_sort_in_the_order_they_were_made() -> None:
    ids = RandomIds()
    made = [ids.new("upg") for _ in range(1_000)]
    assert made == sorted(set(made))
    assert all(len(name) == len("upg-") + 26 for name in made)


def test_tokens_are_long_and_never_the_same() -> None:
    ids = RandomIds()
    tokens = {ids.token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 43


def test_a_driver_is_found_by_port_and_name() -> None:
    assert load_driver("runtime", "process") is ProcessRuntime
    assert "process" in installed_drivers("runtime")


def test_an_unknown_driver_is_an_error_that_names_the_installed_ones() -> None:
    with pytest.raises(Invalid, match=r"there is no runtime driver 'podman'; installed: .*process") as raised:
        load_driver("runtime", "podman")
    assert raised.value.errors[0].path == "runtime"


def test_an_unknown_port_has_no_drivers() -> None:
    with pytest.raises(Invalid, match="installed: none"):
        load_driver("teapot", "x")


@pytest.mark.anyio
async def test_every_subscriber_of_a_topic_is_hinted_and_no_other() -> None:
    bus = LocalEventBus()
    first, second, other = bus.subscribe("a"), bus.subscribe("a"), bus.subscribe("b")
    await bus.publish("a")
    with anyio.fail_after(5):
        await anext(first)
        await anext(second)
    assert not await hinted(other)


@pytest.mark.anyio
async def test_hints_that_nobody_took_yet_are_one() -> None:
    bus = LocalEventBus()
    hints = bus.subscribe("a")
    for _ in range(1_000):
        await bus.publish("a")
    assert await hinted(hints)
    assert not await hinted(hints)
    await bus.publish("a")
    assert await hinted(hints)


@pytest.mark.anyio
async def test_a_waiting_subscriber_wakes_up() -> None:
    bus = LocalEventBus()
    seen = anyio.Event()

    async def wait() -> None:
        async for _ in bus.subscribe("a"):
            seen.set()
            return

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await bus.publish("a")
    assert seen.is_set()


@pytest.mark.anyio
async def test_a_dropped_subscriber_costs_nothing() -> None:
    bus = LocalEventBus()
    for _ in range(100):
        bus.subscribe("gone")
    kept = bus.subscribe("a")
    assert list(bus._topics) == ["a"]
    del kept


async def hinted(hints: AsyncIterator[None]) -> bool:
    """Whether a hint is waiting; takes it."""
    taken: list[bool] = []

    async def take() -> None:
        await anext(hints)
        taken.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return bool(taken)
