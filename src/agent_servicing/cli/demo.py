"""`servicing demo`: the server with four sample agents under live traffic, a good and a bad upgrade to watch, and nothing left at the end.

Called by `server.demo`. This module is the frame (directory, ports, log, start, stop, exit code); `demo_show` is what happens meanwhile.
"""

import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TextIO

import typer

from agent_servicing.bootstrap import datadir, serve, stop
from agent_servicing.cli.answers import Json
from agent_servicing.cli.demo_folder import DemoFolder, settle_ports
from agent_servicing.cli.demo_screen import Screen
from agent_servicing.cli.demo_show import Show
from agent_servicing.cli.demo_words import Place, once_more, program, shown, traffic_line
from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.progress import identity
from agent_servicing.cli.session import Session
from agent_servicing.core.errors import Conflict

if TYPE_CHECKING:
    from agent_servicing.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How the demo is wanted. `port_named` and `router_port_named`: the operator asked for these ports, so no others will do."""

    quick: bool = False
    once: bool = False
    fresh: bool = False
    keep: bool = False
    port_named: bool = False
    router_port_named: bool = False


def run(session: Session, settings: "Settings", choices: Choices) -> None:
    """Serve until Ctrl-C, or with `once` until the acts are over; then end the demo's server, agents and data plane (unless `keep`).

    Raises `typer.Exit` with code 1 when `once` did not end as told; ServicingError when the demo cannot run.
    """
    screen, folder = Screen(session.out), DemoFolder(path=settings.data_dir)
    _require_idle(folder)
    folder.claim()
    # Only ever the demo's own database: a SERVICING_DATABASE_URL set for real work is not meant here.
    settings = settings.model_copy(update={"database_url": None})
    if choices.fresh:
        _start_over(settings, folder, screen)
    settings, remarks = settle_ports(settings, folder, port_named=choices.port_named, router_port_named=choices.router_port_named)
    screen.say(*remarks)
    place = _place(session, settings)
    show = Show(session=session, screen=screen, folder=folder, place=place, quick=choices.quick, once=choices.once)
    # Told to end before the server listens for it, the demo ends as by Ctrl-C; by default the process would end on the spot, the agents not.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with folder.open_log() as log:
        try:
            serve(settings, beside=show.beside, log_stream=log)
        except KeyboardInterrupt:
            show.began = True  # perhaps half started: what there is must end all the same
        finally:
            if show.began:
                _end(settings, screen, choices, log, place("", ""))
    _conclude(session, show, choices)


def _require_idle(folder: DemoFolder) -> None:
    """Before anything is stopped or deleted: a running server's directory is left alone."""
    pid = datadir.holder(folder.path)
    if pid is not None:
        raise Conflict(
            f"A server (pid {pid}) runs on {folder.path} already.",
            hint=f"Use it (servicing --data-dir {folder.path} status), end it (… stop --all), or name another --data-dir.",
            code="data_directory_in_use",
        )


def _start_over(settings: "Settings", folder: DemoFolder, screen: Screen) -> None:
    screen.say(f"Deleting what an earlier demo left in {folder.path} …")
    with folder.open_log() as log:
        stop(settings, everything=True, log_stream=log)
    folder.delete()
    folder.claim()


def _place(session: Session, settings: "Settings") -> "partial[Place]":
    here, argv = session.surroundings.folder, sys.argv
    words = program(argv, executable=sys.executable, folder=here, on_path=shutil.which("servicing"))
    data_dir = shown(settings.data_dir, here)
    command = shlex.join([*words, "--data-dir", data_dir])
    again = once_more(argv, session.surroundings.environ, words=words)
    return partial(_place_at, data_dir=data_dir, pid=os.getpid(), command=command, again=again)


def _place_at(api_url: str, router_url: str, *, data_dir: str, pid: int, command: str, again: str) -> Place:
    return Place(api_url=api_url, router_url=router_url, data_dir=data_dir, pid=pid, command=command, again=again)


def _end(settings: "Settings", screen: Screen, choices: Choices, log: TextIO, place: Place) -> None:
    """Whatever ended the server, its agents and data plane follow, unless the operator wants to keep them."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # told twice, it is no further than at the first time
    if choices.keep:
        _tell(screen, "", "The server has ended; agents and data plane serve on without it.")
        _tell(screen, f"  start again: {place.again}", f"  end them:    {place.command} stop --all")
        return
    _tell(screen, "", "Ending the agents and the data plane …")
    ended = stop(settings, everything=True, log_stream=log)
    instances = sum(name.startswith("instance ") for name in ended)
    others = [name for name in ended if not name.startswith("instance ")]
    _tell(screen, f"Ended: the server, {', '.join([f'{instances} instances of agents', *others])}. Nothing of the demo runs any more.")


def _tell(screen: Screen, *lines: str) -> None:
    """A terminal that was closed, or a pipe that nobody reads, must not keep the rest from ending."""
    with suppress(OSError):
        screen.say(*lines)


def _conclude(session: Session, show: Show, choices: Choices) -> None:
    if show.error is not None:
        raise show.error
    if show.counts is not None and not show.played:
        show.screen.say(f"{traffic_line(show.counts)}.")
    if session.out.machine:
        session.out.json(_report(show))
    if choices.once and not show.well:
        raise typer.Exit(ExitCode.FAILED)


def _report(show: Show) -> Json:
    """The result for programs."""
    counts = show.counts
    acts = [
        {
            "agent_id": ending.act.agent,
            "to_version": ending.act.version,
            "upgrade_id": identity(ending.deployment) if ending.deployment else None,
            "status": ending.deployment.get("status") if ending.deployment else None,
            "as_told": ending.as_told,
            "words": ending.words,
        }
        for ending in show.endings
    ]
    traffic = counts and {
        "sent": counts.sent,
        "ok": counts.ok,
        "lost": counts.lost,
        "failed": dict(counts.failed),
        "conversations": counts.conversations,
        "version_flips": counts.version_flips,
        "streams_opened": counts.streams_opened,
        "streams_cut": counts.streams_cut,
    }
    return {"well": show.well, "acts": acts, "traffic": traffic}
