"""Commands on agents: `servicing agent add|list|show|scale|restart|remove`. `main` registers them."""

import sys
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.deployments import started
from agent_servicing.cli.exits import ExitCode, Usage
from agent_servicing.cli.manifests import find_manifest
from agent_servicing.cli.output import facts, table
from agent_servicing.cli.progress import is_terminal
from agent_servicing.cli.session import Session
from agent_servicing.cli.watch import watch
from agent_servicing.cli.words import age, count, duration, local, number


def add(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="MANIFEST_OR_SOURCE", help="agent.toml, a folder with one, or a git repository (path or URL)")
    ],
    version: Annotated[
        str | None, typer.Option("--version", metavar="V", help="First version to install; omitted: the newest stable one")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the installation until the agent serves")] = False,
    reason: options.Reason = "",
) -> None:
    """Take on an agent and install its first version."""
    found = find_manifest(source, session.surroundings.folder)
    optional = (("manifest_path", found.path), ("version", version), ("reason", reason))
    body: Json = {"manifest": found.text, **{name: value for name, value in optional if value}}
    added = session.api.add_agent(body)
    agent = str(added.get("agent_id", ""))
    deployment = added.get("deployment") or {"upgrade_id": added.get("upgrade_id"), "agent_id": agent, "status": "queued"}
    if wait:
        watch(session, deployment)
    follow = f"servicing status {deployment.get('upgrade_id')} --watch"
    session.out.result(added, lambda: facts((("added", agent), ("installing", deployment.get("to_version")), ("watch it", follow))))


def list_agents(session: Session) -> None:
    """All agents: version, health, update available, what is under way."""
    agents = session.api.agents()
    session.out.result({"agents": agents}, lambda: agents_table(agents) if agents else NO_AGENTS)


def show(session: Session, agent: options.Agent) -> None:
    """One agent whole: instances, traffic, rollback points, deployments."""
    view = session.api.agent(agent)
    instances = session.api.instances(agent)
    now = session.surroundings.clock.now()
    session.out.result(
        {**view, "instance_list": instances},
        lambda: facts(agent_facts(view)),
        lambda: "",
        lambda: table(
            ("instance", "version", "status", "busy with", "port", "pid", "up since", "reason"),
            [
                (
                    i.get("instance"),
                    i.get("version"),
                    i.get("status"),
                    busy_with(i),
                    i.get("port"),
                    i.get("pid"),
                    age(i.get("started_at"), now),
                    i.get("reason"),
                )
                for i in instances
            ],
        ),
    )


def scale(
    session: Session,
    agent: options.Agent,
    instances: Annotated[int, typer.Argument(metavar="N", min=1, help="How many instances")],
    reason: options.Reason = "",
) -> None:
    """Run AGENT as N instances."""
    view = session.api.scale(agent, instances, reason)
    session.out.result(view, lambda: f"{agent} is on its way to {count(instances, 'instance')}.")


def restart(
    session: Session,
    agent: options.Agent,
    reason: options.Reason = "restarted from the command line",
    watching: options.Watch = False,
    override_freeze: Annotated[
        bool, typer.Option("--override-freeze", help="Admins: begin in spite of freezes, windows and a stopped line")
    ] = False,
) -> None:
    """Replace every instance of AGENT, without downtime."""
    started(session, session.api.restart(agent, reason, override_freeze=override_freeze), agent=agent, watching=watching)


def remove(
    session: Session,
    agent: options.Agent,
    reason: options.Reason = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Drain and stop AGENT and forget it; its history stays in the audit trail."""
    if session.out.terminal and sys.stdin.isatty() and not yes and not typer.confirm(f"Stop {agent} and remove it?"):
        session.out.note("Nothing was changed.")
        raise typer.Exit(ExitCode.FAILED)
    view = session.api.remove_agent(agent, reason)
    session.out.result(
        view or {"agent_id": agent, "status": "removing"}, lambda: f"{agent} is being removed: its requests in flight end first."
    )


NO_AGENTS = "There are no agents yet. `servicing agent add PATH` takes one on; `servicing demo` brings four."


def busy_with(instance: Json) -> str:
    """What an instance is in the middle of, as far as anybody knows, and how long it may go on when it leaves."""
    flight, streams, conversations = (instance.get(name) for name in ("in_flight", "active_streams", "open_conversations"))
    words = [f"{flight} in flight"] if flight else []
    words += [count(amount, noun) for amount, noun in ((streams, "stream"), (conversations, "conversation")) if amount]
    left = instance.get("drain_seconds_left")
    return ", ".join(words) + (f" (leaves within {duration(left)})" if left is not None else "")


def agents_table(agents: list[Json]) -> Any:
    """One line per agent, for `agent list` and `status`."""
    return table(("agent", "version", "health", "instances", "update", "deployment"), [_row(agent) for agent in agents])


def agent_facts(view: Json) -> list[tuple[str, object]]:
    """What `agent show` and `status AGENT` say about one agent."""
    source = view.get("source") or {}
    traffic = view.get("traffic") or {}
    return [
        ("agent", view.get("agent_id")),
        ("description", view.get("description")),
        ("owner", view.get("owner")),
        ("status", view.get("status")),
        ("version", _version(view)),
        ("health", _health(view)),
        ("update", _update(view)),
        ("traffic", ", ".join(f"{version} {number(share, ' %')}" for version, share in traffic.items())),
        ("rollback points", ", ".join(view.get("rollback_points") or ())),
        ("source", f"{source.get('kind', '')} {source.get('location', '')}".strip()),
        ("conversations", view.get("conversation_key")),
        ("deployment", _deployment(view)),
        ("queue", ", ".join(view.get("queue") or ())),
    ]


def _row(agent: Json) -> tuple[object, ...]:
    health = agent.get("health") or {}
    ready = f"{health.get('ready', 0)}/{health.get('desired', agent.get('instances', 0))}"
    state = health.get("status") if agent.get("status") == "active" else agent.get("status")
    return (agent.get("agent_id"), agent.get("current_version"), state, ready, _update(agent), _deployment(agent))


def _version(view: Json) -> str:
    since = local(view.get("current_deployed_at"))
    return f"{view.get('current_version') or 'none yet'}{f' since {since}' if since else ''}"


def _health(view: Json) -> str:
    health = view.get("health") or {}
    counts = [f"{health[key]} {key}" for key in ("ready", "starting", "draining", "failed") if health.get(key)]
    return f"{health.get('status', '')} ({', '.join(counts) or 'no instances'} of {health.get('desired', 0)} wanted)"


def _update(view: Json) -> str:
    newest = next(iter(view.get("available_versions") or ()), None)
    if not newest:
        return ""
    marks = [word for word in ("security", "critical") if newest.get(word)]
    return f"{newest.get('version')} ({', '.join([str(newest.get('type', '')), *marks])})"


def _deployment(view: Json) -> str:
    deployment = view.get("deployment") or {}
    if not deployment:
        return ""
    stage = None if is_terminal(deployment) else deployment.get("current_stage")
    words = str(deployment.get("status", "")).replace("_", " ")
    return f"{deployment.get('upgrade_id')} {words}{f', {stage}' if stage else ''}"


def approval(
    session: Session,
    agent: options.Agent,
    wanted: Annotated[str, typer.Argument(metavar="on|off", help="Whether upgrades wait for a second person")],
    reason: options.Reason = "",
) -> None:
    """Have upgrades of an agent wait until a second person has approved them, or not."""
    if wanted not in ("on", "off"):
        raise Usage(f"Say on or off, not {wanted!r}.")
    view = session.api.set_approval(agent, {"required": wanted == "on", "reason": reason})
    text = "wait for a second person; hot patches are refused" if view.get("required") else "wait for nobody's approval"
    session.out.result(view, lambda: f"Upgrades of {agent} {text}.")
