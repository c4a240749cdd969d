"""Makes a command out of a function that takes a `Session`: adds the connection options and `--json`, ends every failure with one clear line.

The options work before the command's name, after it, and between a group and its command; the one nearest to the command's end counts.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from agent_servicing.cli.discovery import Options
from agent_servicing.cli.exits import exit_code
from agent_servicing.cli.session import Session
from agent_servicing.cli.surroundings import Surroundings, real
from agent_servicing.core.errors import ServicingError

P = ParamSpec("P")

PANEL = "Connection and output"

SERVER = Annotated[
    str | None, typer.Option("--server", metavar="URL", rich_help_panel=PANEL, help="Server to talk to (or SERVICING_SERVER)")
]
TOKEN = Annotated[str | None, typer.Option("--token", metavar="T", rich_help_panel=PANEL, help="Access token (or SERVICING_TOKEN)")]
DATA_DIR = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", rich_help_panel=PANEL, help="Data directory of a local server (or SERVICING_DATA_DIR)"),
]
JSON = Annotated[bool, typer.Option("--json", rich_help_panel=PANEL, help="Print one JSON document for programs")]

_COMMON: dict[str, Any] = {"server": SERVER, "token": TOKEN, "data_dir": DATA_DIR, "json": JSON}
_DEFAULTS: dict[str, Any] = {"server": None, "token": None, "data_dir": None, "json": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is known when a command's own options are read: the surroundings and the options given further left."""

    surroundings: Surroundings
    options: Options = field(default_factory=Options)


def command(run: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """A Typer command that calls `run` with a session; a `ServicingError` ends it with exit code 1, or 2 for wrong usage."""

    @functools.wraps(run)
    def call(**values: Any) -> None:
        given = collect(values)
        with Session(options=given.options, surroundings=given.surroundings) as session:
            guarded(session, lambda: run(session, **values))  # type: ignore[call-arg]

    return _with_options(call, run, skip=1)


def group(run: Callable[Concatenate[typer.Context, P], None]) -> Callable[..., None]:
    """A Typer group callback that also takes the common options and hands them down to its commands."""

    @functools.wraps(run)
    def call(**values: Any) -> None:
        ctx: typer.Context = values["ctx"]
        ctx.obj = collect(values)
        run(ctx, **values)  # type: ignore[call-arg]

    return _with_options(call, run, skip=1)


def listing(run: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """A group callback that is the command `run` when none of the group's commands is named."""
    alone = command(run)

    @functools.wraps(run)
    def call(**values: Any) -> None:
        ctx: typer.Context = values["ctx"]
        if ctx.invoked_subcommand is None:
            alone(**values)
        else:
            ctx.obj = collect(values)

    return _with_options(call, run, skip=1)


def collect(values: dict[str, Any]) -> Given:
    """Takes the context and the common options out of `values` and lays the options over those given further left."""
    found = values.pop("ctx").obj
    given = found if isinstance(found, Given) else Given(surroundings=found if isinstance(found, Surroundings) else real())
    mine = {name: values.pop(name) for name in _COMMON}
    return replace(given, options=replace(given.options, **{name: value for name, value in mine.items() if value}))


def guarded(session: Session, act: Callable[[], None]) -> None:
    """Runs `act`; an error we raised on purpose becomes its line and exit code. `SERVICING_DEBUG=1` lets it through with its traceback."""
    try:
        act()
    except ServicingError as e:
        if session.debug:
            raise
        session.out.fail(e)
        raise typer.Exit(exit_code(e)) from e


def _with_options(call: Callable[..., None], run: Callable[..., None], *, skip: int) -> Callable[..., None]:
    """`call` with the signature Typer shall see: the context, what `run` takes after its first `skip` parameters, the common options."""
    named = inspect.Parameter.KEYWORD_ONLY
    own = list(inspect.signature(run, eval_str=True).parameters.values())[skip:]
    parameters = [inspect.Parameter("ctx", named, annotation=typer.Context)]
    parameters += [parameter.replace(kind=named) for parameter in own]
    parameters += [inspect.Parameter(name, named, annotation=kind, default=_DEFAULTS[name]) for name, kind in _COMMON.items()]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
