"""Picks a free TCP port for each instance, one at a time, so that two instances that start together never get the same one."""

import socket
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from agent_servicing.core.errors import TemporaryError

LOWEST_PORT = 20_000
"""Below this, well-known services live."""

DEFAULT_EPHEMERAL_START = 32_768
"""Where Linux begins to take source ports of outgoing connections unless told otherwise."""

SMALLEST_RANGE_PORTS = 1_000
"""With fewer ports than this below the ephemeral ones, the kernel picks."""

EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortPicker:
    """Walks upwards through the ports below the kernel's ephemeral range.

    Not an ephemeral port: between our choice and the agent's own bind, the data plane opens thousands of connections, and the kernel could
    give the chosen port to one of them. Upwards, so that a port is used again as late as possible and no late request meets a stranger.
    """

    def __init__(self, *, host: str, seed: int) -> None:
        self._host = host
        self._lowest = LOWEST_PORT
        self._count = max(0, _ephemeral_start() - LOWEST_PORT)
        self._next = seed % self._count if self._count else 0

    def pick(self, taken: Collection[int]) -> int:
        """A port nobody listens on now and that is not in `taken`. Raises `TemporaryError` when there is none."""
        if self._count < SMALLEST_RANGE_PORTS:
            return self._ask_kernel(taken)
        for _ in range(self._count):
            port = self._lowest + self._next
            self._next = (self._next + 1) % self._count
            if port not in taken and self._bindable(port):
                return port
        raise TemporaryError(f"no free port between {self._lowest} and {self._lowest + self._count - 1}")

    def _bindable(self, port: int) -> bool:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            try:
                probe.bind((self._host, port))
            except OSError:
                return False
        return True

    def _ask_kernel(self, taken: Collection[int]) -> int:
        for _ in range(len(taken) + 1):
            with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
                probe.bind((self._host, 0))
                port: int = probe.getsockname()[1]
            if port not in taken:
                return port
        raise TemporaryError("the kernel offers no free port")


def _ephemeral_start() -> int:
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return DEFAULT_EPHEMERAL_START
