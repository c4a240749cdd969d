"""Before the first act: brings every sample agent to the version the demo begins with, through the API as any client would.

Called by `demo_stage`. What an earlier demo left is taken as it is; only what is missing is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import Api
from agent_servicing.cli.demo_acts import STARTS, past_upgrade
from agent_servicing.cli.manifests import find_manifest
from agent_servicing.cli.progress import is_terminal, summary
from agent_servicing.core.errors import Unavailable
from agent_servicing.testing.samples import build_repositories

if TYPE_CHECKING:
    from agent_servicing.cli.demo_screen import Picture, Screen
    from agent_servicing.cli.surroundings import Surroundings

PREPARE_SECONDS: Final = 180.0
"""For all four together; four seconds on an idle machine of two cores."""

LOOK_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 2.0
DEPLOYMENTS_KEPT: Final = 50
"""How far back an agent's history is read to know whether it has had its past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How far one agent is."""

    agent: str
    doing: str
    detail: str = ""
    ready: bool = False


class Preparation:
    """`run` returns once every agent serves. Raises Unavailable naming what could not be installed."""

    def __init__(self, *, api: Api, around: "Surroundings", screen: "Screen", samples: Path, router_url: str) -> None:
        self._api, self._around, self._screen, self._samples, self._router_url = api, around, screen, samples, router_url
        self._told: dict[str, str] = {}

    def run(self) -> None:
        repositories = build_repositories(self._samples, now=self._around.clock.now() - timedelta(minutes=1))
        self._add(repositories)
        if not self._screen.live:
            self._until_ready(self._tell)
            return
        with self._screen.picture() as picture:
            self._until_ready(lambda rows: _draw(picture, rows))

    def _add(self, repositories: Mapping[str, Path]) -> None:
        known = {agent.get("agent_id") for agent in self._api.agents()}
        for agent, versions in STARTS.items():
            if agent in known:
                continue
            manifest = find_manifest(str(repositories[agent]), self._samples)
            self._api.add_agent({"manifest": manifest.text, "version": versions[0], "reason": "The demo begins"})

    def _until_ready(self, show: Callable[[list[Row]], None]) -> None:
        clock = self._around.clock
        until = clock.monotonic() + PREPARE_SECONDS
        while True:
            rows = [self._look(agent, versions) for agent, versions in STARTS.items()]
            show(rows)
            if all(row.ready for row in rows):
                return
            if clock.monotonic() > until:
                late = ", ".join(f"{row.agent} ({row.doing})" for row in rows if not row.ready)
                raise Unavailable(f"Not every agent serves after {PREPARE_SECONDS:g} s: {late}.", hint="The server's log says more.")
            self._around.pause(LOOK_SECONDS)

    def _look(self, agent: str, versions: tuple[str, ...]) -> Row:
        view = self._api.agent(agent)
        current, last, health = view.get("current_version"), view.get("deployment") or {}, view.get("health") or {}
        under_way = bool(last) and not is_terminal(last)
        if current is None and last and not under_way:
            raise Unavailable(f"{summary(last)} Its log: servicing logs {agent}.", hint="`servicing doctor` checks this machine.")
        if under_way and (current is None or last.get("to_version") in versions):
            return Row(agent=agent, doing=f"{_verb(last)} {last.get('to_version')}", detail=_note(last))
        step = self._next_step(agent, str(current), versions)
        if step is not None:
            self._api.upgrade(agent, past_upgrade(step))
            return Row(agent=agent, doing=f"upgrading to {step}", detail="so that it has a past to go back to")
        ready, wanted = health.get("ready", 0), health.get("desired", 1)
        if ready < wanted:
            return Row(agent=agent, doing=f"starting {current}", detail=f"{ready} of {wanted} instances")
        if not self._answers(agent):
            return Row(agent=agent, doing=f"starting {current}", detail="not to be reached yet")
        return Row(agent=agent, doing=f"{current} serves", detail=f"{ready} instances", ready=True)

    def _answers(self, agent: str) -> bool:
        """Through the data plane, because right after a start the server may still believe in instances that are gone."""
        import httpx  # noqa: PLC0415  a third of a second at import

        try:
            return httpx.get(f"{self._router_url}/{agent}/healthz", timeout=ANSWER_SECONDS, trust_env=False).is_success
        except httpx.TransportError:
            return False  # asked again a moment later, within PREPARE_SECONDS

    def _next_step(self, agent: str, current: str, versions: tuple[str, ...]) -> str | None:
        """The next version of the agent's past, None when it has had it; a step that was taken back is not tried again."""
        if current not in versions[:-1]:
            return None
        step = versions[versions.index(current) + 1]
        tried = {d.get("to_version") for d in self._api.deployments(agent, DEPLOYMENTS_KEPT)}
        return None if step in tried else step

    def _tell(self, rows: list[Row]) -> None:
        for row in rows:
            if self._told.get(row.agent) != row.doing:
                self._told[row.agent] = row.doing
                self._screen.say(f"  {row.agent}: {row.doing}{f', {row.detail}' if row.ready else ''}")


def _verb(deployment: Json) -> str:
    return "installing" if deployment.get("kind") == "install" else "upgrading to"


def _note(deployment: Json) -> str:
    """What the stage under way says of itself."""
    stages = [s for s in deployment.get("stages") or () if s.get("status") == "in_progress"]
    return str(stages[-1].get("note") or stages[-1].get("stage") or "") if stages else ""


def _draw(picture: "Picture", rows: list[Row]) -> None:
    from rich.spinner import Spinner  # noqa: PLC0415  a tenth of a second at import
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made: Table = Table.grid(padding=(0, 2))
    for row in rows:
        mark = Text("✓", style="green") if row.ready else Spinner("dots", style="cyan")
        made.add_row(Text(" "), mark, Text(row.agent), Text(row.doing), Text(row.detail, style="dim"))
    picture(made)
