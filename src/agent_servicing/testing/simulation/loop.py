"""An event loop without events: in the simulated world nobody ever waits for anything real, so a story is one call from beginning to end.

A backend for anyio with the few parts the engine uses. Twice as fast as asyncio with its timers, and no real time can slip into a story:
timeouts are faults of the world, and a coroutine that waits is an error.
"""

import sys
from collections.abc import Callable, Coroutine
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar

import anyio

_NAME = "simulated"

T = TypeVar("T")


def run(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As `anyio.run`."""
    module = ModuleType(f"anyio._backends._{_NAME}")
    module.backend_class = _Backend  # type: ignore[attr-defined]
    sys.modules.setdefault(module.__name__, module)  # where anyio looks for its backends
    return anyio.run(story, backend=_NAME)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. Raises RuntimeError when it waits."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    work.close()
    raise RuntimeError("something in the simulated world waits for the real one")


class _Scope:
    """A cancel scope that nobody cancels."""

    __slots__ = ("deadline", "shield")
    cancelled_caught = False

    def __init__(self, *, deadline: float = float("inf"), shield: bool = False) -> None:
        self.deadline, self.shield = deadline, shield

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class _Tasks:
    """A task group whose tasks are over as soon as they were started."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def start_soon(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        finish(work(*arguments))


class _Backend:
    """What anyio asks of a backend, as far as the engine asks anyio."""

    create_cancel_scope = _Scope
    create_task_group = _Tasks

    @staticmethod
    def run(story: Callable[..., Coroutine[Any, Any, T]], arguments: tuple[Any, ...], named: dict[str, Any], _options: dict[str, Any]) -> T:
        return finish(story(*arguments, **named))

    @staticmethod
    def current_time() -> float:
        return 0.0

    @staticmethod
    async def checkpoint() -> None:
        return None
