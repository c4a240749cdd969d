"""`servicing logs AGENT`: what its instances print; with `--follow` on and on. `main` registers it."""

import json
from collections.abc import Sequence
from typing import Annotated, Final, NoReturn

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.output import clean
from agent_servicing.cli.session import Session

FOLLOW_SECONDS: Final = 1.0
FOLLOW_LINES: Final = 1_000
"""Lines asked for each second; an agent that prints faster has its file for that."""

MAX_LINES: Final = 5_000


def logs(
    session: Session,
    agent: options.Agent,
    instance: Annotated[str | None, typer.Option("--instance", metavar="NAME", help="Only this instance; omitted: all")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=MAX_LINES, help="How many, the newest")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C")] = False,
) -> None:
    """The newest lines that the instances of AGENT printed. With --follow --json: one JSON object per line."""
    if follow:
        _follow(session, agent, instance, lines)
    seen = session.api.logs(agent, instance=instance, lines=lines)
    if session.out.machine:
        session.out.json({"agent_id": agent, "lines": seen})
        return
    _print(session, seen)
    if not seen:
        session.out.note(f"{agent} has printed nothing yet.")


def _follow(session: Session, agent: str, instance: str | None, lines: int) -> NoReturn:
    asked = max(lines, FOLLOW_LINES)
    try:
        seen = session.api.logs(agent, instance=instance, lines=asked)
        _print(session, seen[-lines:])
        while True:
            session.surroundings.pause(FOLLOW_SECONDS)
            now = session.api.logs(agent, instance=instance, lines=asked)
            _print(session, fresh(seen, now))
            seen = now
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def fresh(before: Sequence[Json], now: Sequence[Json]) -> list[Json]:
    """Entries of `now` that were not in `before`. Both end with the newest line of each instance; lines carry no time, so overlap decides."""
    known = _by_instance(before)
    new = {name: _after(known.get(name, []), texts) for name, texts in _by_instance(now).items()}
    skip = {name: len(texts) - new[name] for name, texts in _by_instance(now).items()}
    found: list[Json] = []
    for entry in now:
        name = str(entry.get("instance", ""))
        if skip[name] > 0:
            skip[name] -= 1
        else:
            found.append(entry)
    return found


def _by_instance(entries: Sequence[Json]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(str(entry.get("instance", "")), []).append(str(entry.get("line", "")))
    return found


def _after(before: list[str], now: list[str]) -> int:
    """How many lines at the end of `now` follow the longest end of `before` that `now` still shows."""
    if now[: len(before)] == before:
        return len(now) - len(before)  # nothing has scrolled away yet: exact even when lines repeat
    for end in range(len(now), 0, -1):
        overlap = min(end, len(before))
        if now[end - overlap : end] == before[-overlap:]:
            return len(now) - end
    return len(now)


def _print(session: Session, entries: Sequence[Json]) -> None:
    for entry in entries:
        session.out.line(json.dumps(entry, ensure_ascii=False) if session.out.machine else _shown(entry))


def _shown(entry: Json) -> str:
    return f"{entry.get('instance', '')} | {clean(str(entry.get('line', '')))}"
