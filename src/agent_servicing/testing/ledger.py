"""Kept by the traffic generator: counts every request by what became of it. `Ledger` is written, `Snapshot` is what everybody else reads."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent_servicing.core.latency import BUCKETS, EDGES_MS, quantile_ms

KEPT_FAILURES = 200
"""How many of the latest failures and flips are kept in full; the counts know them all."""

AGENT = "agent "
"""Begins the kind of a failure that the agent itself answered, such as `agent 500`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One request that failed. `kind`: connect, dropped, timeout, stream cut, `router 503` or `agent 500`."""

    number: int
    agent: str
    kind: str
    at: datetime
    served_by: str = ""
    conversation: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A conversation that met another version than the request before."""

    number: int
    agent: str
    conversation: str
    before: str
    after: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTotals:
    """One agent's requests: `versions` counts complete responses by the version that gave them."""

    sent: int
    ok: int
    failed: Mapping[str, int]
    versions: Mapping[str, int]
    histogram: tuple[int, ...]

    def latency_ms(self, quantile: float) -> float | None:
        """Latency at this quantile (0–1) over complete responses that were not streams."""
        return quantile_ms(self.histogram, quantile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that happened up to a moment. `failed` is by kind; `skipped` are requests not sent because everything was busy."""

    sent: int
    ok: int
    failed: Mapping[str, int]
    in_flight: int
    skipped: int
    agents: Mapping[str, AgentTotals]
    conversations: int
    version_flips: int
    streams_opened: int
    streams_ended: int
    streams_cut: int
    failures: tuple[Failure, ...]
    flips: tuple[Flip, ...]

    @property
    def lost(self) -> int:
        """Requests that no agent answered in full: the number that must be zero. An agent's own 5xx is not among them."""
        return sum(count for kind, count in self.failed.items() if not kind.startswith(AGENT))


class _Account:
    def __init__(self) -> None:
        self.sent = 0
        self.ok = 0
        self.failed: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.histogram = [0] * BUCKETS

    def totals(self) -> AgentTotals:
        return AgentTotals(
            sent=self.sent, ok=self.ok, failed=dict(self.failed), versions=dict(self.versions), histogram=tuple(self.histogram)
        )


class Ledger:
    """The running counts of one traffic generator."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)
        self._flips: deque[Flip] = deque(maxlen=KEPT_FAILURES)
        self._version_flips = 0
        self._finished = 0
        self.skipped = 0
        self.conversations = 0
        self.streams_opened = 0
        self.streams_ended = 0
        self.streams_cut = 0

    def sent(self, agent: str) -> None:
        self._account(agent).sent += 1

    def answered(self, agent: str, version: str | None, took_ms: float | None) -> None:
        """A complete response, good or bad, from this version; None for the time of a stream."""
        account = self._account(agent)
        if version:
            account.versions[version] += 1
        if took_ms is not None:
            account.histogram[bisect_left(EDGES_MS, took_ms)] += 1

    def ok(self, agent: str) -> None:
        self._account(agent).ok += 1
        self._finished += 1

    def failed(self, failure: Failure) -> None:
        self._account(failure.agent).failed[failure.kind] += 1
        self._failures.append(failure)
        self._finished += 1

    def given_up(self, agent: str) -> None:
        """The generator itself broke it off when it was told to stop: as if it had not been sent."""
        self._account(agent).sent -= 1

    def flipped(self, flip: Flip) -> None:
        self._version_flips += 1
        self._flips.append(flip)

    def snapshot(self) -> Snapshot:
        agents = {agent: account.totals() for agent, account in self._accounts.items()}
        failed: Counter[str] = Counter()
        for totals in agents.values():
            failed.update(totals.failed)
        sent = sum(totals.sent for totals in agents.values())
        return Snapshot(
            sent=sent,
            ok=sum(totals.ok for totals in agents.values()),
            failed=dict(failed),
            in_flight=sent - self._finished,
            skipped=self.skipped,
            agents=agents,
            conversations=self.conversations,
            version_flips=self._version_flips,
            streams_opened=self.streams_opened,
            streams_ended=self.streams_ended,
            streams_cut=self.streams_cut,
            failures=tuple(self._failures),
            flips=tuple(self._flips),
        )

    def _account(self, agent: str) -> _Account:
        return self._accounts.setdefault(agent, _Account())
