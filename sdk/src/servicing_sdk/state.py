"""The agent's own hooks on what it remembers: export, import, conversion to an older schema. Called by the server around upgrades and rollbacks."""

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

Record = dict[str, Any]
Exporter = Callable[[], AsyncIterator[Record]]

REFUSED_MAX = 100
"""Records whose refusal is explained; the others are only counted."""


class StateHooks:
    """`writes` and `reads` are the state schemas of the manifest, repeated for whoever asks the instance."""

    def __init__(self, *, writes: int | None = None, reads: Iterable[int] = ()) -> None:
        self.writes, self.reads = writes, list(reads)
        self.exporter: Exporter | None = None
        self._importer: Callable[[Record], Any] | None = None
        self._migrator: Callable[[int], Any] | None = None

    def export(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """A generator, asynchronous or not, of records: `id`, `schema`, `value`, and what else there is."""

        async def records() -> AsyncIterator[Record]:
            produced = function()
            if hasattr(produced, "__aiter__"):
                async for record in produced:
                    yield record
            else:
                for record in produced:
                    yield record

        self.exporter = records
        return function

    def import_(self, function: Callable[[Record], Any]) -> Callable[[Record], Any]:
        """Takes one record in; raising refuses it."""
        self._importer = function
        return function

    def migrate(self, function: Callable[[int], Any]) -> Callable[[int], Any]:
        """Converts everything to the schema of that number, in which the agent then goes on writing until it ends.

        May return `{"converted": n, "failed": m}`: records, and those that could not be and stay as they are.
        """
        self._migrator = function
        return function

    async def take_in(self, lines: list[str]) -> dict[str, Any]:
        """Data only: what is no JSON object is refused, and nothing in it is ever run."""
        taken, refused = 0, list[dict[str, Any]]()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                await self._take(json.loads(line))
                taken += 1
            except Exception as error:  # noqa: BLE001 (whatever the agent's code has against it)
                refused.append({"line": number, "message": f"{type(error).__name__}: {str(error)[:300]}"})
        return {"imported": taken, "refused": refused[:REFUSED_MAX], "refused_count": len(refused)}

    async def _take(self, record: object) -> None:
        if not isinstance(record, dict):
            raise TypeError("it is no object")
        if self._importer is None:
            raise ValueError("this agent takes in no state")
        outcome = self._importer(record)
        if inspect.isawaitable(outcome):
            await outcome

    async def migrate_to(self, schema: int) -> dict[str, Any]:
        if self._migrator is None:
            raise ValueError("this agent converts no state")
        outcome = self._migrator(schema)
        if inspect.isawaitable(outcome):
            outcome = await outcome
        told = outcome if isinstance(outcome, dict) else {}
        return {"schema": schema, **{name: int(told[name]) for name in ("converted", "failed") if name in told}}
