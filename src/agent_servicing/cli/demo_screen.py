"""Where `servicing demo` writes: titles, lines and live pictures on a terminal, plain lines elsewhere, standard error with `--json`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent_servicing.cli.output import Output, clean

if TYPE_CHECKING:
    from rich.console import RenderableType

Picture = Callable[["RenderableType"], None]
"""Replaces what a live picture shows."""


class Screen:
    """One demo's output. Never used by two threads at the same time: the acts speak, then whoever waits for Ctrl-C."""

    def __init__(self, out: Output) -> None:
        self.out = out

    @property
    def live(self) -> bool:
        """Whether pictures can be redrawn."""
        return self.out.terminal

    def say(self, *lines: str) -> None:
        for line in lines:
            (self.out.note if self.out.machine else self.out.line)(clean(line))

    def title(self, text: str) -> None:
        """A heading with space above it."""
        if not self.live:
            self.say("", f"== {text} ==")
            return
        from rich.rule import Rule  # noqa: PLC0415  a tenth of a second at import
        from rich.text import Text  # noqa: PLC0415

        console = self.out.console()
        console.print()
        console.print(Rule(Text(text, style="bold"), align="left"))

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Names and values below one another, one line each however long: a value may be a command to copy."""
        rows = list(pairs)
        width = max((len(name) for name, _ in rows), default=0)
        self.say(*(f"  {name:<{width}}  {value}" for name, value in rows))

    def steps(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Sentences, each with a command below it."""
        for sentence, command in pairs:
            self.say(f"  {sentence}:", f"    {command}")

    @contextmanager
    def picture(self) -> Iterator[Picture]:
        """Something that is redrawn in place; only on a terminal."""
        from rich.live import Live  # noqa: PLC0415  a tenth of a second at import

        with Live(console=self.out.console(), auto_refresh=False) as live:
            yield lambda shown: live.update(shown, refresh=True)
