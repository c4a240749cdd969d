"""Where commands write: results to standard output (tables for people, one JSON document with `--json`), everything else to standard error."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from agent_servicing.cli.exits import as_json, as_lines
from agent_servicing.core.errors import ServicingError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

PIPE_WIDTH = 200
"""Columns of a table that goes into a file or pipe, where no terminal tells its width."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Output:
    """One command's output. `machine` means `--json` was given: then standard output carries one JSON document and nothing else."""

    def __init__(self, *, machine: bool) -> None:
        self.machine = machine

    def result(self, value: object, *shown: "Callable[[], RenderableType]") -> None:
        """The command's result: `value` for machines, what `shown` make for people."""
        if self.machine:
            self.json(value)
            return
        console = self.console()
        for make in shown:
            console.print(make())

    def json(self, value: object) -> None:
        """One JSON document on standard output."""
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """One plain line on standard output, whatever its length."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """A remark beside the result, on standard error."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """A sentence for people: part of the result without `--json`, kept quiet with it."""
        if not self.machine:
            self.line(text)

    def fail(self, error: ServicingError) -> None:
        """The error's line on standard error; with `--json` also as a document on standard output."""
        if self.machine:
            self.json(as_json(error))
        for text in as_lines(error):
            self.note(clean(text))

    def console(self) -> "Console":
        """A console on standard output that takes every text literally: what agents and operators wrote is never markup."""
        from rich.console import Console  # noqa: PLC0415  a tenth of a second at import

        terminal = sys.stdout.isatty()
        return Console(markup=False, emoji=False, highlight=False, soft_wrap=False, width=None if terminal else PIPE_WIDTH)

    @property
    def terminal(self) -> bool:
        """Whether a person watches standard output."""
        return sys.stdout.isatty() and not self.machine


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> "Table":
    """A plain table; None and "" become a dash."""
    from rich import box  # noqa: PLC0415  a tenth of a second at import
    from rich.table import Table  # noqa: PLC0415

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(text(cell) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> "Table":
    """Names and values below one another; pairs whose value is None or "" are left out."""
    from rich.table import Table  # noqa: PLC0415  a tenth of a second at import

    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and value != "":
            made.add_row(name, text(value))
    return made


def text(value: object) -> str:
    """A value as a table cell."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return clean(str(value))


def clean(line: str) -> str:
    """`line` without terminal escapes and control characters: a log must not be able to drive the operator's terminal. Tabs stay."""
    return _CONTROLS.sub(" ", _ESCAPES.sub("", line))
