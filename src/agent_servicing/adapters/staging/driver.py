"""Sends requests to staging instances and measures how long answers take. A program of its own, started by `traffic` with one job file.

Apart from the server, so that neither disturbs the other: the server's event loop would be measured with the agent, and a flood of requests
would keep the server from everything else. It sends with the standard library's plain client: what a richer one needs for each request is as
long as a quick agent's answer, and would hide a part of every difference.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from agent_servicing.adapters.system import SystemClock

TIMEOUT_SECONDS = 10.0
"""Of one request."""

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Read of an answer; what comes after is not waited for."""

WARM_UP = 10
"""Pairs that are sent first and not counted: caches and just-in-time compilers of both sides fill."""

BLOCK = 20
"""Pairs after which both instances move to the next processor."""

WORKERS_MAX = 64
"""Requests under way at once; a version that answers slower than that allows is seen to fall behind."""

GRACE_SECONDS = 2.0
"""After the last request of a step was due; what was not sent or answered by then counts as an error."""

STOP_AFTER_ERRORS = 20
"""In a row, of both sides: nobody is there any more."""

clock = SystemClock()


@dataclass(slots=True)
class Side:
    """One instance over one kept connection; opened anew whenever it was closed."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    connection: HTTPConnection | None = None

    def ask(self, request: Mapping[str, Any]) -> tuple[float, str]:
        """Seconds until the whole answer was there, and what was wrong with it."""
        fresh = self.connection is None
        began = clock.monotonic()
        try:
            problem = self._once(request)
        except (OSError, HTTPException) as error:
            self.close()
            if not fresh and isinstance(
                error, ConnectionError
            ):  # an idle connection that was closed meanwhile says nothing about the agent
                return self.ask(request)
            return clock.monotonic() - began, f"{type(error).__name__}: {error}"[:200]
        return clock.monotonic() - began, problem

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _once(self, request: Mapping[str, Any]) -> str:
        if self.connection is None:
            self.connection = HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        body = None if request["json"] is None else json.dumps(request["json"]).encode()
        headers = {**({"Content-Type": "application/json"} if body is not None else {}), **request["headers"], **self.headers}
        self.connection.request(request["method"], request["path"], body=body, headers=headers)
        answer = self.connection.getresponse()
        whole = len(answer.read(BODY_BYTES_MAX)) < BODY_BYTES_MAX
        if not whole or answer.will_close:
            self.close()
        wanted = request["expect_status"]
        return "" if answer.status == wanted else f"answered {answer.status} instead of {wanted}"


@dataclass(slots=True)
class Tally:
    """Of one request: latencies in ms of the pairs in which both answered rightly; wrong answers of each side, and the first of them."""

    pairs: list[tuple[float, float]] = field(default_factory=list)
    sent: int = 0
    errors: list[int] = field(default_factory=lambda: [0, 0])
    problem: str = ""


def compare(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every request to both sides, which of them first by lot, round after round until there are enough pairs or the time is over."""
    sides = [_side(job["old"], job), _side(job["new"], job)]
    requests, tallies = job["requests"], [Tally() for _ in job["requests"]]
    ends, wrong_in_a_row = clock.monotonic() + job["budget_seconds"], 0
    places = Places([side["pid"] for side in (job["old"], job["new"])])
    for number in range(-WARM_UP, job["pairs"]):
        if number % BLOCK == 0:
            places.move()
        which = number % len(requests)
        order = (0, 1) if lot(job["seed"], number) else (1, 0)
        said: dict[int, tuple[float, str]] = {}
        for side in order:
            said[side] = sides[side].ask(requests[which])
        wrong_in_a_row = wrong_in_a_row + 1 if said[0][1] and said[1][1] else 0
        if number >= 0:
            _count(tallies[which], said[0], said[1])
        if clock.monotonic() > ends or wrong_in_a_row >= STOP_AFTER_ERRORS:
            break
    places.leave()
    return [asdict(tally) for tally in tallies]


class Places:
    """Where both instances run: on the same processor, the next one after each block.

    The kernel tends to leave a process where it is. On a machine that has other work to do, one of the two would sit beside that work for the
    whole comparison and the other would not: a difference that is none of the versions'. They answer one after the other, so sharing a
    processor costs neither anything.
    """

    def __init__(self, leaders: Sequence[int | None]) -> None:
        self._leaders = [leader for leader in leaders if leader is not None]
        self._all = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._next = 0

    def move(self) -> None:
        if len(self._all) > 1:
            self._put({self._all[self._next % len(self._all)]})
            self._next += 1

    def leave(self) -> None:
        """Anywhere again."""
        if len(self._all) > 1:
            self._put(set(self._all))

    def _put(self, processors: set[int]) -> None:
        for leader in self._leaders:
            for thread in _threads(leader):
                with suppress(OSError):  # ended meanwhile
                    os.sched_setaffinity(thread, processors)


def _threads(leader: int) -> Iterator[int]:
    """Every thread of every process of the session that this process leads."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, IndexError, ValueError):
            # The command name stands in parentheses and may hold anything, parentheses included.
            session = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[3])
            if session == leader:
                yield from (int(task.name) for task in (entry / "task").iterdir())


def lot(seed: str, number: int) -> bool:
    """A coin that falls the same way whenever the same job is run."""
    return bool(sha256(f"{seed} {number}".encode()).digest()[0] & 1)


def _count(tally: Tally, old: tuple[float, str], new: tuple[float, str]) -> None:
    tally.sent += 1
    for side, (_, problem) in enumerate((old, new)):
        tally.errors[side] += bool(problem)
    if new[1] and not tally.problem:
        tally.problem = new[1]
    if not old[1] and not new[1]:
        tally.pairs.append((1000 * old[0], 1000 * new[0]))


def load(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One step after the other; the one that is not answered, twice, is the last. Whether one was held is decided from these figures."""
    steps: list[dict[str, Any]] = []
    for rate in job["rates"]:
        step = Step(job=job, rate=rate).run()
        if not _answered(step, job):  # once more: a machine may have other work to do for two seconds
            step = max(step, Step(job=job, rate=rate).run(), key=lambda tried: float(tried["achieved_rps"]))
        steps.append(step)
        if not _answered(step, job):
            break
    return steps


def _answered(step: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    enough = step["achieved_rps"] >= job["stop_below"] * step["target_rps"]
    return bool(enough and step["errors"] <= job["stop_errors"] * max(1, step["sent"]))


@dataclass(slots=True)
class Step:
    """Requests at a constant rate, sent when they are due whether or not answers have come. Latency counts from when each was due."""

    job: Mapping[str, Any]
    rate: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> dict[str, Any]:
        count = max(1, round(self.rate * self.job["step_seconds"]))
        due: Queue[int] = Queue()
        for number in range(count):
            due.put(number)
        began = clock.monotonic()
        ends = began + count / self.rate + GRACE_SECONDS
        workers = [threading.Thread(target=self._work, args=(due, began, ends), daemon=True) for _ in range(min(WORKERS_MAX, count))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=max(0.0, ends + TIMEOUT_SECONDS - clock.monotonic()))
        with self.lock:
            latencies, errors = sorted(self.latencies), self.errors
        missing = count - len(latencies) - errors
        seconds = max(count / self.rate, (clock.monotonic() - began) if missing == 0 else ends - began)
        return {
            "target_rps": self.rate,
            "achieved_rps": len(latencies) / seconds,
            "sent": count,
            "errors": errors + missing,
            **{f"p{q}_ms": 1000 * _rank(latencies, q / 100) for q in (50, 95, 99)},
        }

    def _work(self, due: "Queue[int]", began: float, ends: float) -> None:
        side, pause = _side(self.job["address"], self.job), threading.Event()
        try:
            while clock.monotonic() < ends:
                number = due.get_nowait()
                at = began + number / self.rate
                pause.wait(max(0.0, at - clock.monotonic()))
                _, problem = side.ask(self.job["requests"][number % len(self.job["requests"])])
                with self.lock:
                    if problem:
                        self.errors += 1
                    elif clock.monotonic() <= ends:
                        self.latencies.append(clock.monotonic() - at)
        except Empty:
            return
        finally:
            side.close()


def _rank(ordered: list[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def _side(address: Mapping[str, Any], job: Mapping[str, Any]) -> Side:
    return Side(host=address["host"], port=address["port"], headers=job["headers"])


def main(job_file: str, result_file: str) -> int:
    job = json.loads(Path(job_file).read_text())
    found = compare(job) if job["what"] == "compare" else load(job)
    Path(result_file).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
