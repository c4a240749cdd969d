"""A clock that moves only when told, and ids that count: everything built on them runs the same way twice."""

from datetime import UTC, datetime, timedelta

import anyio.lowlevel

START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Implements the `Clock` port; `advance` moves both readings, `jump` only the wall clock (as an administrator would)."""

    def __init__(self, start: datetime = START) -> None:
        self._wall = start
        self._seconds = 0.0

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._wall += timedelta(seconds=seconds)
        self._seconds += seconds

    def jump(self, seconds: float) -> None:
        self._wall += timedelta(seconds=seconds)


class CountingIds:
    """Implements the `Ids` port: upg-000001, upg-000002 …"""

    def __init__(self) -> None:
        self._count = 0

    def new(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}-{self._count:06d}"

    def token(self) -> str:
        self._count += 1
        return f"token-{self._count:024d}"
