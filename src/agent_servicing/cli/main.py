"""The command `servicing`: puts the commands together and turns whatever ends one into an exit code. Heavy modules load inside the commands."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from agent_servicing import __version__
from agent_servicing.cli import (
    agents,
    analysis,
    audit,
    backups,
    config,
    deployments,
    doctor,
    issues,
    logs,
    notifications,
    schedule,
    secrets,
    server,
    staging,
    states,
    status,
    thresholds,
    tokens,
    turns,
    upgrade,
    users,
    versions,
)
from agent_servicing.cli.command import command, group, listing
from agent_servicing.cli.exits import ExitCode, one_line

EXAMPLES = """[bold]Examples[/bold]

servicing demo --quick — see it work, with sample agents under traffic

servicing agent add ./wow-memory --wait — take on an agent

servicing versions WowMemory — what it can be upgraded to, and back to

servicing test WowMemory 1.3.0 --watch — try it first, beside the live ones

servicing upgrade WowMemory 1.3.0 --reason "faster recall" --watch — upgrade it live

servicing rollback WowMemory --reason "answers look odd" --watch — take it back

servicing patch WowMemory timeout_seconds=60 --reason "slow disk" — change it while it runs

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the deployment ended rolled back."""

RUN, LOOK, ACT, CONFIGURE = "Run it", "Agents and their state", "Deployments", "Configuration"
TURN, ACCESS = "When and in which order", "History and access"


def main() -> NoReturn:
    """Entry point of the script. Ends the process with the command's exit code; a traceback only with SERVICING_DEBUG=1."""
    try:
        app(prog_name="servicing")
    except Exception as e:
        if os.environ.get("SERVICING_DEBUG", "") not in {"", "0"}:
            raise
        sys.stderr.write(
            f"Error: unexpected {type(e).__name__}: {one_line(str(e))}\nHint: SERVICING_DEBUG=1 shows where; please report it.\n"
        )
        sys.exit(ExitCode.FAILED)
    sys.exit(ExitCode.DONE)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"servicing {__version__}\n")
        raise typer.Exit


@group
def _root(
    _: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and end")] = False,
) -> None:
    """Upgrade, patch and roll back running AI agents with zero downtime."""


@group
def _agent(_: typer.Context) -> None:
    """Add, show, scale, restart and remove agents."""


@group
def _versions(_: typer.Context) -> None:
    """Upload custom patches; deprecate, withdraw and restore versions; `servicing versions` lists them."""


@group
def _config(_: typer.Context) -> None:
    """Show, list and roll back the configuration of agents; `servicing patch` changes it."""


@group
def _token(_: typer.Context) -> None:
    """Make, list and revoke access tokens."""


@group
def _user(_: typer.Context) -> None:
    """Add, list, change and disable the people who may sign in."""


@group
def _state(_: typer.Context) -> None:
    """What agents keep, and copies of it: show, take, try, remove."""


@group
def _staging(_: typer.Context) -> None:
    """Staging runs: list, show, one case by hand, cancel, the gate; `servicing test` asks for one."""


def _secret(_: typer.Context) -> None:
    """Set, apply, list and remove secrets of agents."""


@group
def _issue(_: typer.Context) -> None:
    """Report a deployment that went wrong; list, download and send reports."""


@group
def _thresholds(_: typer.Context) -> None:
    """The limits that upgrades take which name none: show, set, clear; for all agents, or for one."""


@group
def _target(_: typer.Context) -> None:
    """Where notifications are sent: add, list, remove, test."""


@group
def _rule(_: typer.Context) -> None:
    """What goes to which target: add, list, remove."""


def _typer(**more: Any) -> typer.Typer:
    names = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich", context_settings=names, **more)


def _build() -> typer.Typer:
    made = _typer(epilog=EXAMPLES, no_args_is_help=True)
    made.callback()(_root)
    _add(made, RUN, {"serve": server.serve, "stop": server.stop, "demo": server.demo, "open": server.open_page, "doctor": doctor.doctor})
    _add(made, RUN, {"backup": backups.backup, "restore": backups.restore})
    made.add_typer(_group(_agent, AGENT), name="agent", rich_help_panel=LOOK)
    made.add_typer(_group(_versions, VERSION), name="version", rich_help_panel=LOOK)
    _add(made, LOOK, {"status": status.status, "logs": logs.logs, "versions": versions.versions, "changes": versions.changes})
    _add(made, ACT, {"upgrade": upgrade.upgrade, "rollback": deployments.rollback, "pause": deployments.pause})
    _add(
        made,
        ACT,
        {
            "resume": deployments.resume,
            "promote": deployments.promote,
            "cancel": deployments.cancel,
            "override": deployments.override,
            "approve": deployments.approve,
            "reject": deployments.reject,
            "analysis": analysis.analysis,
        },
    )
    _add(made, ACT, {"test": staging.try_version})
    made.add_typer(_group(_staging, STAGING), name="staging", rich_help_panel=ACT)
    _add(made, CONFIGURE, {"patch": config.patch})
    made.add_typer(_group(_config, CONFIG), name="config", rich_help_panel=CONFIGURE)
    made.add_typer(_group(_thresholds, THRESHOLDS), name="thresholds", rich_help_panel=CONFIGURE)
    made.add_typer(_group(_state, STATE), name="state", rich_help_panel=CONFIGURE)
    made.add_typer(_schedule(), name="schedule", rich_help_panel=TURN)
    _add(made, TURN, {"queue": turns.queue, "move": turns.move, "reschedule": turns.reschedule, "lock": turns.lock, "unlock": turns.unlock})
    made.add_typer(_audit(), name="audit", rich_help_panel=ACCESS)
    made.add_typer(_group(_user, USER), name="user", rich_help_panel=ACCESS)
    made.add_typer(_group(_token, TOKEN), name="token", rich_help_panel=ACCESS)
    made.add_typer(_group(_secret, SECRET), name="secret", rich_help_panel=ACCESS)
    made.add_typer(_notifications(), name="notifications", rich_help_panel=ACCESS)
    made.add_typer(_group(_issue, ISSUE), name="issue", rich_help_panel=ACCESS)
    return made


AGENT: dict[str, Callable[..., None]] = {
    "add": agents.add,
    "list": agents.list_agents,
    "show": agents.show,
    "scale": agents.scale,
    "restart": agents.restart,
    "remove": agents.remove,
    "approval": agents.approval,
}
VERSION: dict[str, Callable[..., None]] = {
    "upload": versions.upload,
    "remove": versions.remove,
    "deprecate": versions.deprecate,
    "withdraw": versions.withdraw,
    "restore": versions.restore,
}
CONFIG: dict[str, Callable[..., None]] = {"show": config.show, "history": config.history, "rollback": config.rollback}
STATE: dict[str, Callable[..., None]] = {
    "show": states.show,
    "snapshot": states.snapshot,
    "rehearse": states.rehearse,
    "unpack": states.unpack,
    "remove": states.remove,
    "restore": states.restore,
    "bring": states.bring,
    "export": states.export,
    "offer": states.offer,
    "discard": states.discard,
}
STAGING: dict[str, Callable[..., None]] = {
    "list": staging.list_runs,
    "show": staging.show,
    "case": staging.case,
    "cancel": staging.cancel,
    "gate": staging.gate,
}
TOKEN: dict[str, Callable[..., None]] = {"create": tokens.create, "list": tokens.list_tokens, "revoke": tokens.revoke}
USER: dict[str, Callable[..., None]] = {
    "add": users.add,
    "list": users.list_users,
    "grant": users.grant,
    "password": users.password,
    "disable": users.disable,
    "enable": users.enable,
    "link": users.link,
    "sign-out": users.sign_out,
}
SECRET: dict[str, Callable[..., None]] = {
    "set": secrets.set_secret,
    "apply": secrets.apply,
    "list": secrets.list_secrets,
    "remove": secrets.remove,
}

ISSUE: dict[str, Callable[..., None]] = {
    "report": issues.report,
    "list": issues.list_issues,
    "download": issues.download,
    "send": issues.send,
    "test": issues.test,
}
THRESHOLDS: dict[str, Callable[..., None]] = {"show": thresholds.show, "set": thresholds.set_thresholds, "clear": thresholds.clear}
TARGET: dict[str, Callable[..., None]] = {
    "add": notifications.target_add,
    "list": notifications.target_list,
    "remove": notifications.target_remove,
    "test": notifications.target_test,
}
RULE: dict[str, Callable[..., None]] = {
    "add": notifications.rule_add,
    "list": notifications.rule_list,
    "remove": notifications.rule_remove,
}

SCHEDULE: dict[str, Callable[..., None]] = {
    "list": schedule.show,
    "upcoming": schedule.upcoming,
    "freeze": schedule.freeze,
    "window": schedule.window,
    "remove": schedule.remove,
    "stop": schedule.stop,
    "resume": schedule.resume,
    "limit": schedule.limit,
}


def _group(callback: Callable[..., None], commands: dict[str, Callable[..., None]]) -> typer.Typer:
    made = _typer(no_args_is_help=True)
    made.callback()(callback)
    _add(made, None, commands)
    return made


def _audit() -> typer.Typer:
    """`servicing audit` lists by itself, so its group takes the filters of `list`, and hands the common options down to its commands."""
    made = _typer(invoke_without_command=True)
    made.callback(help="Who did what, when and why; and whether that history is whole.")(listing(audit.list_events))
    _add(
        made,
        None,
        {"list": audit.list_events, "verify": audit.verify, "anchor": audit.anchor, "export": audit.export, "sinks": audit.sinks},
    )
    return made


def _notifications() -> typer.Typer:
    """`servicing notifications` lists by itself."""
    made = _typer(invoke_without_command=True)
    made.callback(help="What happened that somebody should know, and where it is sent.")(listing(notifications.list_notifications))
    _add(made, None, {"list": notifications.list_notifications, "read": notifications.read})
    made.add_typer(_group(_target, TARGET), name="target")
    made.add_typer(_group(_rule, RULE), name="rule")
    return made


def _schedule() -> typer.Typer:
    """`servicing schedule` shows the line by itself."""
    made = _typer(invoke_without_command=True)
    made.callback(help="When things may begin: freezes, maintenance windows, stopping the line, how many at once.")(listing(schedule.show))
    _add(made, None, SCHEDULE)
    return made


def _add(to: typer.Typer, panel: str | None, commands: dict[str, Callable[..., None]]) -> None:
    for name, run in commands.items():
        to.command(name, rich_help_panel=panel)(command(run))


app = _build()


if __name__ == "__main__":
    main()
