"""Default thresholds on the command line: `servicing thresholds show|set|clear`. `upgrade` reads its own limits in the same words."""

from contextlib import suppress
from math import isfinite
from typing import Annotated

import typer

from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import Api, path_of
from agent_servicing.cli.completion import complete_agents
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.options import Reason
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session

NAMES = {
    "error_rate_threshold": "%",
    "promote_error_rate": "%",
    "latency_threshold_ms": "ms",
    "promote_latency_ms": "ms",
    "min_requests": "",
}
"""The limits with their units, in the order in which they are shown."""

NONE, LEFT = "none", "default"

ORIGINS = {"agent": "its own", "all": "for all agents", "built_in": "built in", "derived": "from the threshold", "request": "asked for"}

Agent = Annotated[str | None, typer.Argument(metavar="[AGENT]", help="Omitted: for all agents", autocompletion=complete_agents)]


def _option(name: str, text: str, metavar: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(name, help=text, metavar=f"{metavar}|none|default")
    return found


def show(session: Session, agent: Agent = None) -> None:
    """The limits that upgrades take which name none; of an agent each with where it comes from."""
    view = _get(session.api, agent)
    if agent is not None:
        rows = [(name, _words(name, each.get("value")), ORIGINS.get(each.get("origin"), "")) for name, each in view["in_force"].items()]
        session.out.result(view, lambda: table(("limit", "in force", "comes from"), rows))
        return
    said = [("for all agents", view["all"]), *view["agents"].items()]
    lines = [
        (who, *(_words(name, own[name]) if name in own else "" for name in NAMES)) for who, own in (("built in", view["built_in"]), *said)
    ]
    session.out.result(view, lambda: table(("", *NAMES), lines))


def set_thresholds(
    session: Session,
    agent: Agent = None,
    error_rate_threshold: Annotated[str | None, _option("--error-rate-threshold", "Roll back above so many percent errors", "%")] = None,
    latency_threshold_ms: Annotated[str | None, _option("--latency-threshold-ms", "Roll back when latency is above", "MS")] = None,
    promote_error_rate: Annotated[str | None, _option("--promote-error-rate", "Below so many percent errors it is fine", "%")] = None,
    promote_latency_ms: Annotated[str | None, _option("--promote-latency-ms", "Below this latency it is fine", "MS")] = None,
    min_requests: Annotated[
        str | None, typer.Option("--min-requests", help="Fewer requests than this are no verdict", metavar="N|default")
    ] = None,
    reason: Reason = "",
) -> None:
    """Change what is named, for all agents or one; `none` is no limit, `default` leaves it to those for all, or the built-in one."""
    named = {
        "error_rate_threshold": error_rate_threshold,
        "latency_threshold_ms": latency_threshold_ms,
        "promote_error_rate": promote_error_rate,
        "promote_latency_ms": promote_latency_ms,
        "min_requests": min_requests,
    }
    changes = {name: text for name, text in named.items() if text is not None}
    if not changes:
        raise Usage("Name a limit to set, such as --error-rate-threshold 2.")
    view = _get(session.api, agent)
    kept = {name: value for name, value in view["own" if agent is not None else "all"].items() if name not in changes}
    _put(session, agent, {**kept, **{name: limit(name, text) for name, text in changes.items() if text != LEFT}}, reason)


def clear(session: Session, agent: Agent = None, reason: Reason = "") -> None:
    """Take away what was set, for all agents or one."""
    _put(session, agent, {}, reason)


def limit(name: str, text: str) -> float | None:
    """`2.5` as a number, `none` as no limit; whether it makes sense is the server's to say. Raises `Usage`."""
    if text == NONE and name != "min_requests":
        return None
    with suppress(ValueError):
        value = int(text) if name == "min_requests" else float(text.strip().removesuffix("%"))
        if isfinite(value):  # NaN is no number that JSON has
            return value
    option = f"--{name.replace('_', '-')}"
    raise Usage(f"{option} takes a number{'' if name == 'min_requests' else ' or none'}, not {text!r}.")


def _put(session: Session, agent: str | None, said: Json, reason: str) -> None:
    view = session.api.send("PUT", _path(agent), {"thresholds": said, "reason": reason})
    whose = agent or "all agents"
    words = ", ".join(f"{name} {_words(name, value)}" for name, value in said.items()) or "nothing of its own"
    session.out.result(view, lambda: f"For {whose}: {words}. What is under way keeps its limits.")


def _get(api: Api, agent: str | None) -> Json:
    return api.get(_path(agent))


def _path(agent: str | None) -> str:
    return path_of("agents", agent, "thresholds") if agent is not None else path_of("settings", "thresholds")


def _words(name: str, value: float | None) -> str:
    if value is None:
        return "derived" if name.startswith("promote") else "no limit"
    return f"{value:g} {NAMES[name]}".rstrip()
