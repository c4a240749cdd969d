"""Where the engine's calls leave it: a stand-in for each port that lets a guard decide what becomes of every call."""

from collections.abc import Awaitable, Callable
from typing import Any

Guard = Callable[..., Awaitable[Any]]
"""Gets the call's name, its method and its arguments; returns what the engine is answered."""


class Guarded:
    """Behaves like `inner`; its methods go through `guard`, under names that begin with `prefix`."""

    def __init__(self, inner: Any, guard: Guard, prefix: str = "") -> None:
        self._inner = inner
        self._guard = guard
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        method: Any = getattr(self._inner, name)
        guard, known_as = self._guard, f"{self._prefix}{name}"

        async def call(*args: Any, **options: Any) -> Any:
            return await guard(known_as, method, *args, **options)

        setattr(self, name, call)
        return call
