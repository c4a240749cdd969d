"""Completes ids while the operator types. The shell waits for this, so it asks once, briefly, and offers nothing when that fails."""

from collections.abc import Callable

from agent_servicing.cli.discovery import Options
from agent_servicing.cli.session import Session
from agent_servicing.cli.surroundings import real
from agent_servicing.core.errors import ServicingError

DEPLOYMENTS_OFFERED = 20


def complete_agents(incomplete: str) -> list[str]:
    """Ids of agents that begin with what was typed."""
    return _ask(incomplete, lambda session: [str(agent.get("agent_id", "")) for agent in session.api.agents()])


def complete_deployments(incomplete: str) -> list[str]:
    """Ids of recent deployments that begin with what was typed."""

    def ids(session: Session) -> list[str]:
        api = session.api
        recent = (d for agent in api.agents() for d in api.deployments(str(agent.get("agent_id", "")), DEPLOYMENTS_OFFERED))
        return [str(d.get("upgrade_id", "")) for d in recent]

    return _ask(incomplete, ids)


def _ask(incomplete: str, question: Callable[[Session], list[str]]) -> list[str]:
    try:
        with Session(options=Options(), surroundings=real()) as session:
            return [answer for answer in question(session) if answer.startswith(incomplete)]
    except ServicingError:
        return []  # nothing to offer: the shell's line is no place for an error
