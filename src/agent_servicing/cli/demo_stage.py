"""Plays an act of `servicing demo`: asks for the upgrade through the API, shows it live, says how it ended. Called by `demo_show` in a thread."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_servicing.cli.demo_acts import HOT_PATCH, HOT_PATCH_STORY, Act
from agent_servicing.cli.feed import Feed, Look
from agent_servicing.cli.output import clean
from agent_servicing.cli.progress import headline, identity, is_terminal, summary
from agent_servicing.cli.session import Session
from agent_servicing.cli.watch import follow
from agent_servicing.core.errors import ServicingError
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.core.versions import parse

if TYPE_CHECKING:
    from agent_servicing.cli.answers import Json
    from agent_servicing.cli.demo_screen import Screen

RECENT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an act ended. `as_told` also when an earlier demo had played it already; `deployment` None when nothing was started."""

    act: Act
    as_told: bool
    words: str
    deployment: "Json | None" = None


class Stage:
    """Plays acts one after the other. `check` raises once the demo is to end; `footer` is the line below the live picture."""

    def __init__(self, *, session: Session, screen: "Screen", check: Callable[[], None], footer: Callable[[], str]) -> None:
        self._session, self._screen, self._check, self._footer = session, screen, check, footer

    def play(self, act: Act) -> Ending:
        self._screen.title(f"{act.title}: {act.agent} {act.version}")
        ending = self._play(act)
        self._screen.say(ending.words)
        return ending

    def leave(self, act: Act) -> None:
        """Begin it, and let it go on while others look."""
        self._screen.title(f"{act.title}: {act.agent} {act.version}")
        try:
            view = self._begin(act)
        except ServicingError as error:
            self._screen.say(clean(f"This upgrade was refused: {error.message} {error.hint}".strip()))
            return
        self._screen.say(*((view.words,) if isinstance(view, Ending) else act.story))

    def patch(self) -> bool:
        """The hot patch between the acts; whether it went as told."""
        self._screen.title("In between: WowMemory is patched while it runs")
        self._screen.say(*HOT_PATCH_STORY, "")
        try:
            view = self._session.api.patch_config("WowMemory", HOT_PATCH)
        except ServicingError as error:
            self._screen.say(clean(f"This patch was refused: {error.message} {error.hint}".strip()))
            return False
        changes = [f"{key} {change['old']} → {change['new']}" for key, change in (view.get("config_changes") or {}).items()]
        done = f"{len(view.get('instances') or ())} processes, none restarted, downtime {view.get('downtime_seconds') or 0:g} s"
        self._screen.say(
            clean(f"{view.get('config_version')} {view.get('status')}: {', '.join(changes) or 'it was like that already'}. {done}.")
        )
        return view.get("status") in ("applied", "unchanged")

    def _play(self, act: Act) -> Ending:
        try:
            view = self._begin(act)
        except ServicingError as error:
            return Ending(act=act, as_told=False, words=clean(f"This upgrade was refused: {error.message} {error.hint}".strip()))
        if isinstance(view, Ending):
            return view
        self._screen.say(*act.story, "")
        feed = Feed(self._session.api, self._session.surroundings, agent=act.agent, deployment=identity(view))
        final = follow(self._session, self._looks(feed), footer=self._footer)
        return _ending(act, final)

    def _begin(self, act: Act) -> "Json | Ending":
        """The deployment to follow: asked for now, or found under way; an ending when there is nothing to play."""
        agent = self._session.api.agent(act.agent)
        going = [d for d in self._session.api.deployments(act.agent, RECENT) if not is_terminal(d)]
        held = next((d for d in going if d.get("status") in (DeploymentStatus.SCHEDULED, DeploymentStatus.PAUSED)), None)
        if held is not None:
            words = f"{identity(held)} ({headline(held)}) is {held.get('status')}, so this act is left out."
            return Ending(act=act, as_told=False, words=words)
        if going:
            busy = going[0]
            self._screen.say(f"{identity(busy)} ({headline(busy)}) is under way from an earlier start; here is how it goes on.")
            if busy.get("to_version") == act.version:
                return busy
            self._finish(busy, act.agent)
            agent = self._session.api.agent(act.agent)
        current = str(agent.get("current_version"))
        if parse(current) >= parse(act.version):
            done = act.expected is DeploymentStatus.COMPLETED
            words = f"{act.agent} runs {current} already, from an earlier demo; `--fresh` starts over."
            return Ending(act=act, as_told=done, words=words)
        return self._session.api.upgrade(act.agent, act.body)

    def _finish(self, view: "Json", agent: str) -> None:
        feed = Feed(self._session.api, self._session.surroundings, agent=agent, deployment=identity(view))
        self._screen.say(clean(summary(follow(self._session, self._looks(feed), footer=self._footer))))

    def _looks(self, feed: Feed) -> Iterator[Look]:
        for look in feed.looks():
            self._check()
            yield look


def _ending(act: Act, final: "Json") -> Ending:
    as_told = final.get("status") == act.expected
    words = clean(summary(final))
    if not as_told:
        words = f"{words} It was meant to end otherwise: {act.expected.value.replace('_', ' ')}."
    elif act.expected is DeploymentStatus.ROLLED_BACK and not (final.get("rollback") or {}).get("auto_triggered"):
        as_told = False
        words = f"{words} It was meant to be taken back by itself."
    return Ending(act=act, as_told=as_told, words=words, deployment=final)
