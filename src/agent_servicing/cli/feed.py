"""Follows one deployment: WebSocket messages wake it, the view is read from the API; without a WebSocket it reads once a second.

`watch` consumes it. A server that is away for a while (restarted, killed) is waited for: deployments go on when it comes back.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import Api
from agent_servicing.cli.exits import ServerAbsent
from agent_servicing.cli.progress import is_terminal
from agent_servicing.cli.surroundings import Socket, Surroundings
from agent_servicing.core.errors import Unavailable

LOOK_SECONDS: Final = 1.0
"""Oldest a view may become; also how long one wait for a message lasts, so that Ctrl-C is quick."""

RECONNECT_SECONDS: Final = (1.0, 2.0, 5.0)
"""Pauses before the WebSocket is tried again; the last one repeats."""

PATIENCE_SECONDS: Final = 300.0
"""How long a server may be away before we give up; the promise to recover is 60 s."""


REMARKS: Final = frozenset(
    {
        "instance_unhealthy",
        "instance_ready",
        "instance_stopped",
        "crash_loop",
        "generation_draining",
        "generation_warm",
        "generation_resumed",
    }
)
"""Events that change nothing in the deployment's view but belong into its story."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the deployment. `remarks` are messages that the view does not show; `connected`: the server answers."""

    view: Json
    remarks: tuple[Json, ...] = ()
    connected: bool = True
    live: bool = True


class Feed:
    """Looks at one deployment until it has ended."""

    def __init__(self, api: Api, around: Surroundings, *, agent: str, deployment: str) -> None:
        self._api, self._around = api, around
        self._agent, self._deployment = agent, deployment
        self._socket: Socket | None = None
        self._since: int | None = None
        self._failures = 0
        self._retry_at = 0.0

    def looks(self) -> Iterator[Look]:
        """The deployment now, then again whenever something happened and at least once a second; ends after its terminal view."""
        try:
            yield from self._looks(self._api.deployment(self._agent, self._deployment))
        finally:
            self._drop()

    def _looks(self, view: Json) -> Iterator[Look]:
        clock = self._around.clock
        looked_at = reached_at = clock.monotonic()
        yield Look(view=view, live=True)
        while not is_terminal(view):
            message = self._next()
            remarks: tuple[Json, ...] = ()
            if message is not None and message.get("event") != "metrics_update":  # figures are read once a second, averaged by the server
                remarks = (message,) if self._is_remark(message) else ()
                looked_at = clock.monotonic() - LOOK_SECONDS
            if clock.monotonic() - looked_at >= LOOK_SECONDS:
                fresh = self._read()
                looked_at = clock.monotonic()
                if fresh is not None:
                    view, reached_at = fresh, looked_at
                elif looked_at - reached_at > PATIENCE_SECONDS:
                    raise ServerAbsent(
                        f"The server at {self._api.target.url} has not answered for {PATIENCE_SECONDS / 60:g} minutes.",
                        hint="The deployment goes on once `servicing serve` runs again on its data directory.",
                    )
            yield Look(view=view, remarks=remarks, connected=reached_at >= looked_at, live=self._socket is not None)

    def _is_remark(self, message: Json) -> bool:
        """We listen to the whole agent, because what happens to an instance belongs to no deployment."""
        return message.get("event") in REMARKS and message.get("upgrade_id") in {None, self._deployment}

    def _read(self) -> Json | None:
        """The view, None while the server is away."""
        try:
            return self._api.deployment(self._agent, self._deployment)
        except (ServerAbsent, Unavailable):
            return None  # shown as "not connected"; `_looks` gives up after PATIENCE_SECONDS

    def _next(self) -> Json | None:
        """The next message, None when none came within LOOK_SECONDS."""
        if self._socket is None and self._around.clock.monotonic() >= self._retry_at:
            self._open()
        if self._socket is None:
            self._around.pause(LOOK_SECONDS)
            return None
        from websockets.exceptions import WebSocketException  # noqa: PLC0415  only for --watch

        try:
            message = _parsed(self._socket.recv(timeout=LOOK_SECONDS))
        except TimeoutError:
            return None
        except (OSError, WebSocketException):
            self._failed()
            return None
        if isinstance(message.get("seq"), int):
            self._since = message["seq"]
        return message

    def _open(self) -> None:
        from websockets.exceptions import WebSocketException  # noqa: PLC0415  only for --watch

        scheme, _, rest = self._api.target.url.partition("://")
        url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws/agent-upgrades"
        subscribe = {"action": "subscribe", "agent_id": self._agent} | ({"since": self._since} if self._since is not None else {})
        try:
            self._socket = self._around.connect(url, self._api.headers())
            self._socket.send(json.dumps(subscribe))
        except (OSError, WebSocketException):
            self._failed()
        else:
            self._failures = 0

    def _failed(self) -> None:
        self._drop()
        pause = RECONNECT_SECONDS[min(self._failures, len(RECONNECT_SECONDS) - 1)]
        self._failures += 1
        self._retry_at = self._around.clock.monotonic() + pause

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _parsed(text: str | bytes) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        return {}  # not ours; the view is read from the API anyway
    return found if isinstance(found, dict) else {}
