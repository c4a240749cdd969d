"""How uvicorn runs the application: the limits that only the server can set. Called by `bootstrap` and by the tests that need real sockets."""

import resource
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from agent_servicing.core.errors import Unavailable
from agent_servicing.web.edge import HEAD_SECONDS, HostCheck, bounded

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


OWN_FILES: Final = 256
"""Of the files this process may open, left for the database, agents' pipes and the data plane's socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """How the network is met: names that are ours, proxies that are believed, certificate and key for TLS, patience with slow clients."""

    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    head_seconds: float = HEAD_SECONDS


def uvicorn_config(app: FastAPI, *, host: str, port: int, edge: Edge | None = None) -> uvicorn.Config:
    """Logging is left to us. Headers of proxies are believed from those that are named, and from nobody else.

    Raises Unavailable `tls_unusable` when certificate and key cannot be used.
    """
    edge = edge or Edge()
    check_tls(edge)
    config = uvicorn.Config(
        HostCheck(app, allowed=(*edge.allowed_hosts, host)),
        host=host,
        port=port,
        http=bounded(edge.head_seconds),  # h11: the one that limits the size of headers
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(edge.trusted_proxies),
        forwarded_allow_ips=list(edge.trusted_proxies),
        limit_concurrency=_connections_max(),
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_max_queue=MESSAGES_QUEUED_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=edge.tls_cert,
        ssl_keyfile=edge.tls_key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def check_tls(edge: Edge) -> None:
    """Asked before anything is started, too: a server that cannot answer must not leave a data plane behind. Raises Unavailable `tls_unusable`."""
    if edge.tls_cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(edge.tls_cert, edge.tls_key)
    except OSError as error:  # what is no certificate is one too
        message = f"TLS cannot be used with {edge.tls_cert} and {edge.tls_key}: {error}"
        raise Unavailable(message, hint="Both must be PEM files, readable, and belong together.", code="tls_unusable") from error


def _connections_max() -> int:
    """Beyond it connections get 503; running out of files instead would stop everything else too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, soft - OWN_FILES) if soft != resource.RLIM_INFINITY else 1_000_000
