"""Follows a deployment to its end: a live picture on a terminal, one plain line per event elsewhere, the final view with `--json`.

Called by every command that takes `--watch` or `--wait`; raises `typer.Exit` with the deployment's outcome.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

import typer

from agent_servicing.cli.answers import Json
from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.feed import Feed, Look
from agent_servicing.cli.output import clean
from agent_servicing.cli.progress import identity, is_terminal, lines, metrics_line, outcome, summary
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import clock_time

STORY_LINES: Final = 6
FOOTER: Final = "Ctrl-C stops watching, not the deployment."
METRICS_EVERY_SECONDS: Final = 5.0
"""Between two lines with figures when there is no terminal to redraw."""


def watch(session: Session, view: Json) -> NoReturn:
    """Follow the deployment shown by `view`. Exit code 0 completed, 3 rolled back, 1 failed or cancelled, 130 after Ctrl-C."""
    deployment = identity(view)
    feed = Feed(session.api, session.surroundings, agent=str(view.get("agent_id", "")), deployment=deployment)
    try:
        final = follow(session, feed.looks())
    except KeyboardInterrupt:
        session.out.note(f"\nStopped watching; {deployment} goes on. `servicing status {deployment} --watch` watches it again,")
        session.out.note(f"`servicing cancel {deployment}` takes it back.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if session.out.machine:
        session.out.json(final)
    else:
        session.out.line(clean(summary(final)))
    raise typer.Exit(outcome(final))


def follow(session: Session, looks: Iterator[Look], *, footer: Callable[[], str] = lambda: FOOTER) -> Json:
    """Show the looks as they come; the last view. `footer` makes the line below the live picture, each time anew."""
    return _on_terminal(session, looks, footer) if session.out.terminal else _as_lines(session, looks)


def _as_lines(session: Session, looks: Iterator[Look]) -> Json:
    """Lines go to standard output, with `--json` to standard error, where they do not disturb the document."""
    write = session.out.note if session.out.machine else session.out.line
    clock = session.surroundings.clock
    told: Json | None = None
    figures_at = clock.monotonic()
    connected = True
    for look in looks:
        for line in _news(look, told, session):
            write(line)
        told = look.view
        if look.connected is not connected:
            connected = look.connected
            write("the server answers again" if connected else "the server does not answer; trying again")
        figures = metrics_line(look.view)
        if figures and clock.monotonic() - figures_at >= METRICS_EVERY_SECONDS and not is_terminal(look.view):
            figures_at = clock.monotonic()
            write(clean(f"{clock_time(clock.now().isoformat())}  {figures}"))
    return told or {}


def _on_terminal(session: Session, looks: Iterator[Look], footer: Callable[[], str]) -> Json:
    from rich.live import Live  # noqa: PLC0415  a tenth of a second at import

    from agent_servicing.cli.live_view import Frame, draw  # noqa: PLC0415  brings rich

    story: deque[str] = deque(maxlen=STORY_LINES)
    told: Json | None = None
    with Live(console=session.out.console(), refresh_per_second=8, vertical_overflow="crop") as live:
        for look in looks:
            story.extend(_news(look, told, session))
            told = look.view
            now = session.surroundings.clock.now()
            live.update(draw(Frame(view=told, story=list(story), now=now, connected=look.connected, live=look.live, footer=footer())))
    return told or {}


def _news(look: Look, told: Json | None, session: Session) -> Iterator[str]:
    now = session.surroundings.clock.now()
    yield from map(clean, lines(told, look.view, now))
    for remark in look.remarks:
        words = str(remark.get("event")).replace("_", " ")
        subject = remark.get("instance") or remark.get("version") or ""
        problem = f": {remark['problem']}" if remark.get("problem") else ""
        yield clean(f"{clock_time(remark.get('at'))}  {words}: {subject}{problem}")
