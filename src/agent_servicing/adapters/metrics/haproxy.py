"""The metrics driver over HAProxy: reads the counters that the rules keep in stick tables and turns them into `Counters`.

The engine asks for every agent about once a second, so one reading of the tables serves all agents for a moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import anyio

from agent_servicing.adapters.haproxy_reading import SHOW_MAPS, read_maps, read_stat, read_table
from agent_servicing.adapters.haproxy_rows import (
    AGENTS,
    BUCKET_RADIX,
    LABELS,
    Rows,
    backends_of,
    read_members,
    read_tallies,
    server_name,
    slot_of_row,
    unserved_id,
)
from agent_servicing.adapters.haproxy_socket import HaproxySocket
from agent_servicing.core import latency
from agent_servicing.core.metrics import Counters, Counts, GenerationCounters, InstanceCounters
from agent_servicing.ports import Clock

FRESH_SECONDS = 0.5
"""For how long one reading serves every agent. A verdict looks at seconds, so half of one is fresh."""


class DataPlane(Protocol):
    """What the driver needs of the router's HAProxy."""

    link: HaproxySocket
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything HAProxy counted, at one moment."""

    at: datetime
    read_at: float
    rows: Rows
    stat: Mapping[str, tuple[int, int, int]]
    tallies: Mapping[str, Mapping[str, int]]
    latencies: Mapping[int, tuple[int, ...]]


class HaproxyMetrics:
    """`Metrics` over the HAProxy of `plane`. An agent that HAProxy does not know has no generations; no answer is a `TemporaryError`."""

    def __init__(self, plane: DataPlane) -> None:
        self._link, self._clock = plane.link, plane.clock
        self._reading: Reading | None = None
        self._lock = anyio.Lock()

    async def counters(self, agent: str) -> Counters:
        """What was counted for `agent` since HAProxy's counters began; at most `FRESH_SECONDS` old, `at` says when it was read."""
        reading = await self._latest()
        row = reading.rows[AGENTS].get(agent)
        if row is None:
            return Counters(at=reading.at)
        labels = reading.rows[LABELS]
        return Counters(
            at=reading.at,
            generations={n: _generation(reading, tally) for n, tally in read_tallies(labels.get(f"tallies/{agent}", "")).items()},
            instances=_instances(slot_of_row(row), labels, reading.stat),
            unserved=reading.tallies.get(str(unserved_id(row)), {}).get("conn_cnt", 0),
            limited=reading.tallies.get(str(unserved_id(row) + 1), {}).get("conn_cnt", 0),
        )

    async def _latest(self) -> Reading:
        async with self._lock:
            if self._reading is None or self._clock.monotonic() - self._reading.read_at >= FRESH_SECONDS:
                self._reading = await self._read()
            return self._reading

    async def _read(self) -> Reading:
        at, read_at = self._clock.now(), self._clock.monotonic()
        *maps, stat, tallies, latencies = await self._link.ask(
            *SHOW_MAPS, "show stat -1 4 -1 no-maint", "show table tallies", "show table latencies"
        )
        return Reading(
            at=at,
            read_at=read_at,
            rows=read_maps(maps),
            stat=read_stat(stat),
            tallies=read_table(tallies),
            latencies=_histograms(read_table(latencies)),
        )


def _histograms(entries: Mapping[str, Mapping[str, int]]) -> dict[int, tuple[int, ...]]:
    """By counter id, one number per possible bucket; the numbers after the histogram's buckets include those of unknown latency."""
    found: dict[int, list[int]] = {}
    for key, entry in entries.items():
        number, bucket = divmod(int(key) % 2**32, BUCKET_RADIX)
        found.setdefault(number, [0] * BUCKET_RADIX)[bucket] = entry.get("conn_cnt", 0)
    return {number: tuple(counts) for number, counts in found.items()}


def _generation(reading: Reading, tally: int) -> GenerationCounters:
    return GenerationCounters(new=_counts(reading, 2 * tally), pinned=_counts(reading, 2 * tally + 1))


def _counts(reading: Reading, number: int) -> Counts:
    entry = reading.tallies.get(str(number), {})
    buckets = reading.latencies.get(number, (0,) * BUCKET_RADIX)
    errors, refused = entry.get("gpc0", 0), entry.get("gpc1", 0)
    return Counts(
        routed=entry.get("conn_cnt", 0),
        answered=sum(buckets) + errors + refused,
        errors=errors,
        conversations=entry.get("gpc2", 0),
        histogram=buckets[: latency.BUCKETS],
    )


def _instances(slot: int, labels: Mapping[str, str], stat: Mapping[str, tuple[int, int, int]]) -> dict[str, InstanceCounters]:
    """Of every instance in service; its server may have served another one before, whose counts are taken off."""
    found = {}
    for backend in backends_of(slot):
        for number, (requests, errors) in read_members(labels.get(backend, "")).items():
            name = server_name(backend, number)
            if name in stat and name in labels:
                in_flight, all_requests, all_errors = stat[name]
                found[labels[name].rpartition("/")[2]] = InstanceCounters(
                    requests=max(0, all_requests - requests), errors=max(0, all_errors - errors), in_flight=in_flight
                )
    return found
