"""Dying on any line: a wrapper around a port that ends the engine before or after one chosen call."""

from dataclasses import dataclass, field
from typing import Any


class Killed(BaseException):
    """kill -9 of the engine: no handler of ours may catch it, nothing is cleaned up."""


@dataclass(slots=True)
class Fuse:
    """Counts calls over all wrapped ports and blows at one of them. `at` None never blows; `calls` says how many places there were."""

    at: int | None = None
    calls: int = 0
    blown: bool = False
    log: list[str] = field(default_factory=list)

    def burn(self, name: str) -> None:
        if self.at is not None and self.calls == self.at and not self.blown:
            self.blown = True
            raise Killed(name)
        self.calls += 1
        self.log.append(name)


READINGS = frozenset({"observe", "observe_all", "living", "preparation", "counters", "probe"})
"""Calls that change nothing: dying around one of them is the same as dying before the first that does."""


class FaultyPort:
    """Behaves like `inner`, but every call that changes something passes the fuse twice: before it takes effect and after."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method: Any = getattr(self._inner, name)
        if not callable(method) or name in READINGS:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {name}")
            result = await method(*args, **kwargs)
            self._fuse.burn(f"after {name}")
            return result

        return call
