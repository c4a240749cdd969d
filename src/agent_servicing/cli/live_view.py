"""Draws one deployment for a terminal: both versions' traffic and figures, the verdict, the stages, what happened last. `watch` refreshes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent_servicing.cli.output import clean
from agent_servicing.cli.progress import SIDES, Json, headline, identity, is_terminal, standing
from agent_servicing.cli.words import duration, moment, number

BAR_COLUMNS: Final = 40
MARKS: Final = {
    "completed": ("✓", "green"),
    "in_progress": ("●", "cyan"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "pending": ("○", "dim"),
}
VERDICTS: Final = {"passing": "green", "failing": "red", "inconclusive": "yellow", "no_data": "yellow"}
STATUSES: Final = {
    "completed": "green",
    "rolled_back": "red",
    "failed": "red",
    "cancelled": "yellow",
    "rolling_back": "red",
    "paused": "yellow",
}
COLOURS: Final = {"blue": "blue", "green": "green"}

FIGURES: Final = (
    ("error rate", "error_rate", " %", 2),
    ("average latency", "avg_latency_ms", " ms", 1),
    ("p95 latency", "p95_latency_ms", " ms", 1),
    ("throughput", "throughput", " req/s", 1),
    ("requests", "requests", "", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture: the deployment, the last lines of its story, and how the connection is."""

    view: Json
    story: Sequence[str] = ()
    now: datetime
    connected: bool = True
    live: bool = True
    footer: str = ""


def draw(frame: Frame) -> RenderableType:
    """The whole picture."""
    view = frame.view
    parts: list[RenderableType] = [_header(view, frame.now)]
    if _sides(view):
        parts += [Text(), _bars(view), Text(), _figures(view)]
    parts += [Text(), _stages(view, frame.now)]
    trigger = view.get("rollback") or {}
    if trigger.get("reason"):
        parts.append(Text(clean(f"Rollback: {trigger['reason']}"), style="bold red"))
    if frame.story:
        parts += [Text(), *(Text(clean(line), style="dim", overflow="ellipsis", no_wrap=True) for line in frame.story)]
    parts += [Text(), Text(_footer(frame), style="dim")]
    return Group(*parts)


def _header(view: Json, now: datetime) -> Text:
    status = str(view.get("status", ""))
    text = Text(headline(view), style="bold")
    text.append("  ")
    text.append(clean(standing(view)), style=STATUSES.get(status, "cyan"))
    for word in (view.get("strategy"), _elapsed(view, now), identity(view)):
        if word:
            text.append(f"  {word}", style="not bold dim")
    if view.get("message"):
        text.append(f"\n{clean(str(view['message']))}", style="not bold")
    return text


def _elapsed(view: Json, now: datetime) -> str:
    started = moment(view.get("started_at"))
    if started is None:
        return ""
    ended = moment(view.get("finished_at")) if is_terminal(view) else now
    return duration(max(0.0, ((ended or now) - started) / timedelta(seconds=1)))


def _sides(view: Json) -> list[tuple[str, Json]]:
    metrics = view.get("metrics") or {}
    return [(side, metrics[side]) for side in SIDES if isinstance(metrics.get(side), dict)]


def _bars(view: Json) -> Table:
    made = Table.grid(padding=(0, 2))
    for side, figures in _sides(view):
        share = float(figures.get("traffic_percent") or 0)
        colour = COLOURS[side]
        bar = ProgressBar(total=100, completed=share, width=BAR_COLUMNS, complete_style=colour, finished_style=colour)
        made.add_row(Text(side, style=colour), Text(str(figures.get("version") or "–")), bar, Text(number(share, " %") or "0 %"))
    return made


def _figures(view: Json) -> RenderableType:
    sides = _sides(view)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    made.add_column("")
    for side, figures in sides:
        made.add_column(Text(f"{figures.get('version') or side}"), justify="right", style=COLOURS[side])
    for name, key, unit, digits in FIGURES:
        made.add_row(name, *(number(figures.get(key), unit, digits) or "no data" for _, figures in sides))
    judgement = view.get("judgement") or {}
    if not judgement.get("verdict"):
        return made
    verdict = str(judgement["verdict"])
    line = Text("Verdict: ")
    line.append(verdict.replace("_", " "), style=VERDICTS.get(verdict, ""))
    line.append(clean(f" – {judgement.get('sentence', '')}"))
    return Group(made, line)


def _stages(view: Json, now: datetime) -> Table:
    made = Table.grid(padding=(0, 2))
    for stage in view.get("stages") or ():
        status = str(stage.get("status", "pending"))
        mark, style = MARKS.get(status, ("?", ""))
        took = stage.get("duration_seconds")
        started = moment(stage.get("started_at"))
        if status == "in_progress" and started is not None:
            took = max(0.0, (now - started) / timedelta(seconds=1))
        made.add_row(
            Text(mark, style=style),
            Text(str(stage.get("stage", "")), style="bold" if status == "in_progress" else ""),
            Text(status.replace("_", " "), style=style),
            Text(duration(took)),
            Text(clean(str(stage.get("note") or "")), style="dim"),
        )
    return made


def _footer(frame: Frame) -> str:
    if is_terminal(frame.view):
        return ""
    if not frame.connected:
        return "The server does not answer; trying again. The deployment goes on when it is back."
    return frame.footer + ("" if frame.live else "  (no live connection, reading once a second)")
