"""One run of one command: its options, its output, and its connection, opened when first asked for."""

from functools import cached_property
from typing import TYPE_CHECKING, Self

from agent_servicing.cli import discovery
from agent_servicing.cli.discovery import Options, Target
from agent_servicing.cli.output import Output
from agent_servicing.cli.surroundings import Surroundings

if TYPE_CHECKING:
    from agent_servicing.cli.client import Api


class Session:
    """What every command function receives first. Leaving it closes the connection."""

    def __init__(self, *, options: Options, surroundings: Surroundings) -> None:
        self.options = options
        self.surroundings = surroundings
        self.out = Output(machine=options.json)

    @cached_property
    def target(self) -> Target:
        """The server in use. Raises `ServerAbsent` when there is none."""
        return discovery.find(self.options, self.surroundings.environ, self.surroundings.folder)

    @cached_property
    def api(self) -> "Api":
        """The connection to it."""
        from agent_servicing.cli.client import Api  # noqa: PLC0415  brings httpx, which not every command needs

        return Api(self.target, self.surroundings)

    @property
    def debug(self) -> bool:
        """Whether the operator wants tracebacks."""
        return self.surroundings.environ.get("SERVICING_DEBUG", "") not in {"", "0"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        opened = self.__dict__.get("api")
        if opened is not None:
            opened.close()
