"""What the router keeps on disk for the day HAProxy has to be started anew: one JSON file, replaced whole, its predecessor kept.

While HAProxy runs, the truth is in HAProxy and this file is only a copy.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent_servicing.adapters.haproxy_rows import Place, Plan
from agent_servicing.adapters.router.haproxy_book import Book
from agent_servicing.adapters.router.haproxy_config import structure_from_text, structure_to_text
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.routing import Backend, GenerationRoute, RateLimit, Routing

STATE, PREVIOUS = "state.json", "state.previous.json"
FORMAT = 1


def write_atomically(path: Path, text: str, *, previous: Path | None = None) -> None:
    """Replace `path` so that a crash leaves the old or the new text, never a part; the old one moves to `previous`. Raises OSError."""
    fresh = path.with_suffix(path.suffix + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if previous is not None and path.exists():
        spare = previous.with_suffix(".new")
        spare.unlink(missing_ok=True)
        os.link(path, spare)
        spare.replace(previous)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save(folder: Path, book: Book) -> None:
    """Raises OSError."""
    content = {
        "format": FORMAT,
        "structure": structure_to_text(book.structure),
        "next_tally": book.next_tally,
        "agents": {agent: _plan_out(plan) for agent, plan in book.agents.items()},
    }
    write_atomically(folder / STATE, json.dumps(content, indent=1), previous=folder / PREVIOUS)


def load(folder: Path) -> Book | None:
    """The last book that was saved whole, None when there never was one. Files that are all damaged are a `PermanentError`, not an empty book."""
    damaged: list[str] = []
    for name in (STATE, PREVIOUS):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            return Book(
                structure=structure_from_text(content["structure"]),
                next_tally=int(content["next_tally"]),
                agents={agent: _plan_in(agent, plan) for agent, plan in content["agents"].items()},
            )
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damaged.append(f"{folder / name} ({error})")
    if damaged:
        raise PermanentError(
            f"the data plane's state cannot be read: {', '.join(damaged)}. Restore one of these files, or delete both to begin empty."
        )
    return None


def _plan_out(plan: Plan) -> dict[str, Any]:
    routing = plan.routing
    return {
        "slot": plan.slot,
        "tally": plan.tally,
        "tallies": dict(plan.tallies),
        "conversation_key": str(routing.conversation_key) if routing.conversation_key else None,
        "stable": routing.stable,
        "candidate": routing.candidate,
        "share": routing.share,
        "redirects": dict(routing.redirects),
        "rate_limit": [routing.rate_limit.requests_per_second, routing.rate_limit.burst] if routing.rate_limit else None,
        "request_timeout_seconds": routing.request_timeout_seconds,
        "generations": [_generation_out(route, plan.places[route.generation]) for route in routing.generations],
    }


def _generation_out(route: GenerationRoute, place: Place) -> dict[str, Any]:
    return {
        "generation": route.generation,
        "version": route.version,
        "column": place.column,
        "tally": place.tally,
        "backends": [[b.instance, b.host, b.port, b.state, place.servers[b.instance]] for b in route.backends],
    }


def _plan_in(agent: str, content: Mapping[str, Any]) -> Plan:
    routes, places = [], {}
    for item in content["generations"]:
        backends = tuple(Backend(instance=name, host=host, port=port, state=state) for name, host, port, state, _ in item["backends"])
        servers = {name: server for name, *_, server in item["backends"]}
        routes.append(GenerationRoute(generation=item["generation"], version=item["version"], backends=backends))
        places[item["generation"]] = Place(column=item["column"], tally=item["tally"], servers=servers)
    kind, _, name = (content["conversation_key"] or "").partition(":")
    routing = Routing(
        agent=agent,
        conversation_key=ConversationKey(kind=kind, name=name) if kind in ("header", "cookie", "query") else None,  # type: ignore[arg-type]
        generations=tuple(routes),
        stable=content["stable"],
        candidate=content["candidate"],
        share=content["share"],
        redirects={int(source): int(target) for source, target in content["redirects"].items()},
        # Files of earlier releases say nothing of limits.
        rate_limit=RateLimit(requests_per_second=limit[0], burst=limit[1]) if (limit := content.get("rate_limit")) else None,
        request_timeout_seconds=content.get("request_timeout_seconds"),
    )
    tallies = {int(number): int(tally) for number, tally in content["tallies"].items()}
    return Plan(routing=routing, slot=content["slot"], tally=content["tally"], places=places, tallies=tallies)
