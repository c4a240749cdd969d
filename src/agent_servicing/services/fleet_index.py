"""All agents as lists show them, kept between requests: a look costs one small query, and only what changed since is read again.

Used by `Fleet`. With a thousand agents a list that reads each of them takes most of a second; lists are what pages, scripts and scrapes ask for
most. What is kept is never trusted by age: every look compares the store's stamps, in the same transaction that reads what is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

from agent_servicing.services.fleet_views import agent_views, totals_of
from agent_servicing.services.views import AgentView, FleetTotals
from agent_servicing.store.database import Database
from agent_servicing.store.outlines import Stamp, load_outlines, load_stamps

READ_AT_ONCE: Final = 100
"""Agents read in one piece, so that the first look at thousands leaves others a turn in between."""


@dataclass(slots=True)
class FleetIndex:
    """One per server. The `state` of its views is an outline: the agent, its generations, instances and open deployments, nothing else."""

    database: Database
    _known: dict[str, tuple[Stamp, AgentView]] = field(default_factory=dict)
    _shown: Mapping[str, AgentView] = field(default_factory=dict)
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    _counted: Mapping[str, AgentView] | None = None
    _totals: FleetTotals = field(default_factory=FleetTotals)
    _mark: int | None = None
    _asked: int = 0
    _answered: int = 0

    async def totals(self) -> FleetTotals:
        """Over all of them."""
        views = await self.views()
        if views is not self._counted:
            self._totals, self._counted = totals_of(list(views.values())), views
        return self._totals

    async def views(self) -> Mapping[str, AgentView]:
        """Every agent, by id, in that order: as they are at some moment after the call. The same value while nothing has changed."""
        if self._mark is not None and self._mark == self.database.mark:
            return self._shown
        self._asked += 1
        mine = self._asked
        async with self._one_at_a_time:
            if self._answered < mine:
                # Whoever waits by now is answered by this look too: else a busy server looks ever more often, each time for one.
                begun = self._asked
                await self._look()
                self._answered = begun
            return self._shown

    async def _look(self) -> None:
        mark = self.database.mark
        async with self.database.read() as connection:
            stamps = await load_stamps(connection)
            missing = [name for name, stamp in stamps.items() if name not in self._known or self._known[name][0] != stamp]
            for first in range(0, len(missing), READ_AT_ONCE):
                outlines = await load_outlines(connection, missing[first : first + READ_AT_ONCE])
                for view in await agent_views(connection, outlines):
                    name = view.state.agent.agent
                    self._known[name] = (stamps[name], view)
        if missing or stamps.keys() != self._known.keys():
            self._known = {name: self._known[name] for name in stamps}
            self._shown = {name: view for name, (_, view) in self._known.items()}
        self._mark = mark
