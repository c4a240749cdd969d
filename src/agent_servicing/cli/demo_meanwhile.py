"""What `servicing demo` does beside its acts, so that the page has a past to look at: a version that is too slow and is taken back, a staging run
of the security update, a freeze that is planned. All of it is asked for through the API. Called by `demo_show` in a thread of its own.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import path_of
from agent_servicing.cli.demo_acts import DETOUR_BACK, DETOUR_THERE, FREEZE, SLOW, TRIED, TRY
from agent_servicing.cli.output import clean
from agent_servicing.cli.progress import identity, is_terminal, summary
from agent_servicing.core.errors import ServicingError
from agent_servicing.core.staging.model import OPEN

if TYPE_CHECKING:
    from agent_servicing.cli.session import Session

LOOK_SECONDS: Final = 0.5
DEPLOYMENTS_KEPT: Final = 50
PATIENCE_SECONDS: Final = 120.0
"""For each of the things done: on an idle machine the longest takes half a minute."""

FREEZE_IN_DAYS: Final = 5
FREEZE_HOURS: Final = 36


class Meanwhile:
    """`run` does one thing after the other and keeps in `told` a line about each; it never speaks, because the acts have the screen.

    What an earlier demo has done already is left out. A refusal is told, and the next thing is done all the same.
    """

    def __init__(self, session: "Session") -> None:
        self._api, self._around = session.api, session.surroundings
        self.told: list[str] = []

    def run(self) -> None:
        for part in (self._plan, self._detour, self._try):
            try:
                words = part()
            except ServicingError as error:
                words = f"refused: {error.message}"
            if words:
                self.told.append(clean(words))

    def _plan(self) -> str | None:
        """A freeze that lies ahead, and so holds nothing up today."""
        if any(rule.get("name") == FREEZE["name"] for rule in self._api.schedule().get("rules") or ()):
            return None
        day = self._around.clock.now().replace(hour=6, minute=0, second=0, microsecond=0) + timedelta(days=FREEZE_IN_DAYS)
        times = {"starts_at": day.isoformat(), "ends_at": (day + timedelta(hours=FREEZE_HOURS)).isoformat()}
        self._api.add_rule({**FREEZE, **times})
        return f"A freeze is planned for {day.date().isoformat()}: {FREEZE['reason']}."

    def _detour(self) -> str | None:
        """To a version and back again by hand."""
        agent, version = SLOW
        if any(each.get("to_version") == version for each in self._api.deployments(agent, DEPLOYMENTS_KEPT)):
            return None
        there = self._ended(agent, self._api.upgrade(agent, {"target_version": version, **DETOUR_THERE}))
        back = self._ended(agent, self._api.rollback(agent, {**DETOUR_BACK, "if_version": version}))
        return f"{summary(there)} {summary(back)}"

    def _try(self) -> str | None:
        """The security update in staging."""
        agent, version = TRIED
        runs = path_of("agents", agent, "staging")
        if self._api.get(runs, {"limit": "1"}).get("runs") or self._api.agent(agent).get("current_version") == version:
            return None
        asked = self._api.send("POST", runs, {"version": version, **TRY})
        run = self._until(lambda: self._api.get(f"{runs}/{asked.get('run_id')}"), lambda seen: seen.get("status") not in OPEN)
        return f"{agent} {version} was tried in staging: {str(run.get('recommendation') or run.get('status')).replace('_', ' ')}."

    def _ended(self, agent: str, view: Json) -> Json:
        return self._until(lambda: self._api.deployment(agent, identity(view)), is_terminal)

    def _until(self, look: Callable[[], Json], over: Callable[[Json], bool]) -> Json:
        """The first view that is over, or the last one seen when that takes too long."""
        until = self._around.clock.monotonic() + PATIENCE_SECONDS
        while True:
            view = look()
            if over(view) or self._around.clock.monotonic() > until:
                return view
            self._around.pause(LOOK_SECONDS)
