"""How uvicorn runs the application: the limits that only the server can set. Called by `bootstrap` and by the tests that need real sockets."""

from typing import Final

import uvicorn
from fastapi import FastAPI

HEADER_BYTES_MAX: Final = 32 * 1024
"""All headers of one request together."""

MESSAGE_BYTES_MAX: Final = 64 * 1024
"""A WebSocket message over this ends the connection (1009); one over `LIVE_MESSAGE_BYTES_MAX` is answered with an error."""

MESSAGES_QUEUED_MAX: Final = 16
"""Messages of one client that wait to be read."""

PING_SECONDS: Final = 20.0
"""A client that vanished without a word is noticed after two of these."""

KEEP_ALIVE_SECONDS: Final = 15
SHUTDOWN_SECONDS: Final = 5
"""Requests under way when the server stops get this long; agents and data plane go on without it."""


def uvicorn_config(app: FastAPI, *, host: str, port: int) -> uvicorn.Config:
    """Logging is left to us, and headers of proxies are not believed."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",  # the one that limits the size of headers; chosen here so that no other package on the machine changes it
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_max_queue=MESSAGES_QUEUED_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
