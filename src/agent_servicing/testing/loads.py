"""What the traffic generator asks of an agent, and the load for the four sample agents."""

from dataclasses import dataclass

from agent_servicing.core.manifest import TestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one agent is asked. With `conversation_header`, requests belong to conversations of `conversation_length` requests each.

    `weight` is this agent's part of the rate relative to the others; `streams` so many server-sent event streams are kept open on `stream_path`,
    each of which must close with an `end` event.
    """

    agent: str
    requests: tuple[TestRequest, ...]
    weight: int = 1
    conversation_header: str | None = None
    conversation_length: int = 20
    streams: int = 0
    stream_path: str = "/stream?seconds=5"


SAMPLE_LOADS = (
    Load(
        agent="WowMemory",
        requests=(
            TestRequest(method="POST", path="/remember", json={"text": "the tide turns at noon"}),
            TestRequest(path="/recall?q=tide"),
        ),
        weight=3,
        conversation_header="X-Conversation-Id",
    ),
    Load(
        agent="WowOrchestrator",
        requests=(TestRequest(method="POST", path="/run", json={"text": "look around", "name": "green-sea.org"}),),
        weight=1,
        conversation_header="X-Conversation-Id",
        streams=2,
    ),
    Load(
        agent="WowCache",
        requests=(TestRequest(method="PUT", path="/cache/key-{n}", json={"value": "kept"}), TestRequest(path="/cache/key-{n}")),
        weight=4,
    ),
    Load(
        agent="WowDomain", requests=(TestRequest(path="/check?name=green-sea-{n}.org"), TestRequest(path="/check?name=not%20one")), weight=2
    ),
)
"""Load for the four sample agents of `examples/`."""
