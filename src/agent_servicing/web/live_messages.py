"""What a WebSocket client may say: text in, one of three messages out, or `BadMessage` with what was expected instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from agent_servicing.core.events import Event
from agent_servicing.web.limits import LIVE_MESSAGE_BYTES_MAX
from agent_servicing.web.schemas.common import Body, Name

EXPECTED: Final = (
    '{"action": "subscribe", "upgrade_id": …, "agent_id": …, "since": …, "brief": …}, {"action": "unsubscribe", …} or {"action": "ping"}'
)


class BadMessage(Exception):
    """Nothing that is understood; the connection stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is subscribed to: one deployment, one agent, or everything."""

    upgrade_id: str | None = None
    agent_id: str | None = None

    def matches(self, event: Event) -> bool:
        return (self.upgrade_id is None or event.deployment == self.upgrade_id) and (self.agent_id is None or event.agent == self.agent_id)


class _Targeted(Body):
    upgrade_id: Name | None = None
    agent_id: Name | None = None

    @property
    def target(self) -> Target:
        return Target(upgrade_id=self.upgrade_id, agent_id=self.agent_id)


class Subscribe(_Targeted):
    """Begin a subscription, or move one that is there. `since`: go on after this number. `brief`: a snapshot without agents and deployments,
    for whoever asks for those over HTTP; with hundreds of agents it is a megabyte."""

    action: Literal["subscribe"]
    since: int | None = Field(default=None, ge=0)
    brief: bool = False


class Unsubscribe(_Targeted):
    action: Literal["unsubscribe"]


class Ping(Body):
    action: Literal["ping"]


Message = Subscribe | Unsubscribe | Ping
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="action")])


def parse(received: Mapping[str, object]) -> Message:
    """One ASGI `websocket.receive` message."""
    text = received.get("text")
    if not isinstance(text, str):
        raise BadMessage("Messages are text.")
    if len(text.encode("utf-8", "replace")) > LIVE_MESSAGE_BYTES_MAX:
        raise BadMessage(f"A message has at most {LIVE_MESSAGE_BYTES_MAX} bytes.")
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise BadMessage(f"{where + ': ' if where else ''}{first['msg']}. Expected {EXPECTED}.") from None
