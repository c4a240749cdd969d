"""Counts failed attempts by whatever they can be recognised by, and says when the next one may come. Used by `sign_in`; forgets at a restart.

In memory on purpose: an attacker who fails a million times must not make us write a million rows, and one server signs people in.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from agent_servicing.ports import Clock

KEYS_MAX: Final = 10_000
"""Names or addresses remembered; the one seen longest ago goes first."""

ADDRESS_FACTOR: Final = 10
"""Many people may share an address: it may fail so many times as often as one person from one address."""

NAME_FACTOR: Final = 20
"""From all addresses together, so that nobody who is not there can lock a person out with a handful of tries."""


@dataclass(slots=True)
class _Count:
    attempts: int
    until: float


class Attempts:
    """Up to `limit` attempts within `seconds` of the latest; then none until so much time has passed without one that counts."""

    def __init__(self, *, clock: Clock, limit: int, seconds: float) -> None:
        self._clock, self._limit, self._seconds = clock, limit, seconds
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def wait_seconds(self, key: str) -> float:
        """0 when another attempt may be made."""
        count = self._of(key)
        return max(0.0, count.until - self._clock.monotonic()) if count is not None and count.attempts >= self._limit else 0.0

    def begin(self, key: str) -> bool:
        """An attempt is made; it counts as failed until `succeeded`. Returns whether it was the last one allowed."""
        count = self._of(key) or _Count(0, 0.0)
        self._counts[key] = count
        self._counts.move_to_end(key)
        count.attempts += 1
        count.until = self._clock.monotonic() + self._seconds
        while len(self._counts) > KEYS_MAX:
            self._counts.popitem(last=False)
        return count.attempts >= self._limit

    def succeeded(self, key: str, *, forget: bool) -> None:
        """It was none. `forget`: nor do the earlier ones count any more."""
        count = self._of(key)
        if count is None:
            return
        count.attempts -= 1
        if forget or count.attempts <= 0:
            del self._counts[key]

    def _of(self, key: str) -> _Count | None:
        count = self._counts.get(key)
        if count is not None and count.until <= self._clock.monotonic():
            del self._counts[key]
            return None
        return count


class Throttle:
    """Attempts by a person from an address, by an address, and by a person."""

    def __init__(self, *, clock: Clock, limit: int, seconds: float) -> None:
        self._pairs = Attempts(clock=clock, limit=limit, seconds=seconds)
        self._addresses = Attempts(clock=clock, limit=limit * ADDRESS_FACTOR, seconds=seconds)
        self._names = Attempts(clock=clock, limit=limit * NAME_FACTOR, seconds=seconds)

    def wait_seconds(self, name: str, address: str) -> float:
        network = network_of(address)
        waits = (self._pairs.wait_seconds(f"{network} {name}"), self._addresses.wait_seconds(network), self._names.wait_seconds(name))
        return max(waits)

    def begin(self, name: str, address: str) -> bool:
        """Whether this was the last attempt allowed for a while."""
        network = network_of(address)
        return any([self._pairs.begin(f"{network} {name}"), self._addresses.begin(network), self._names.begin(name)])

    def succeeded(self, name: str, address: str) -> None:
        network = network_of(address)
        self._pairs.succeeded(f"{network} {name}", forget=True)
        self._addresses.succeeded(network, forget=False)
        self._names.succeeded(name, forget=False)


def network_of(address: str) -> str:
    """Who has one address of IPv6 has a whole /64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return address
