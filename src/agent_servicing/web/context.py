"""What every route, the middlewares and the live view share. `create_app` puts one on the application; nothing in here changes afterwards."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from agent_servicing.ports import Clock, EventBus, Ids, InstanceLink
from agent_servicing.services.all import Services
from agent_servicing.settings import Settings

Check = Callable[[], Awaitable[None]]
"""One readiness check: returns when the part is alive, raises anything when it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """What the engine says about itself for `/metrics`: reconciles since start, how many failed, seconds spent in them."""

    reconciles: int = 0
    failures: int = 0
    reconcile_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebContext:
    services: Services
    settings: Settings
    clock: Clock
    ids: Ids
    bus: EventBus
    version: str
    readiness: Mapping[str, Check] = field(default_factory=dict)
    engine: Callable[[], EngineStats] | None = None
    link: InstanceLink | None = None


def context_of(connection: HTTPConnection) -> WebContext:
    """The context of the application that serves this request or WebSocket."""
    return cast("WebContext", connection.app.state.context)


async def _context(request: Request) -> WebContext:
    """Asynchronous, so that no thread is taken for it."""
    return context_of(request)


Context = Annotated[WebContext, Depends(_context)]
