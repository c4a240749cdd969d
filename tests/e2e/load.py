"""Steady requests from a thread of its own, each accounted for: answered, lost by the data plane, or failed by the agent itself."""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

WORKERS = 4
CONVERSATIONS = 8
LONGEST_SECONDS = 300.0
"""A load that nobody ends stops by itself."""


class Load:
    """Use as a context manager. `lost` lists connection errors and the router's own errors; 500s of the agent are counted in `failed`."""

    def __init__(self, router_url: str, agent: str, *, rate: float = 60.0, method: str = "POST") -> None:
        self._url, self._method, self._pause = f"{router_url}/{agent}/work", method, WORKERS / rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(WORKERS)]
        self._lock = threading.Lock()
        self.lost: list[str] = []
        self.flips: list[str] = []
        self.answered = 0
        self.failed = 0
        self.statuses: Counter[int] = Counter()
        self.versions: set[str] = set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def lost_but_cut(self) -> list[str]:
        """What was lost without having been on the wire to an instance that died: those bytes nobody can call back."""
        return [entry for entry in self.lost if "502" not in entry]

    def _work(self, worker: int) -> None:
        until = time.monotonic() + LONGEST_SECONDS
        seen: dict[str, str] = {}
        with httpx.Client(timeout=30) as client:
            number = 0
            while not self._stop.is_set() and time.monotonic() < until:
                number += 1
                conversation = f"c-{worker}-{number % CONVERSATIONS}" if number % 2 else None
                self._send(client, conversation, seen)
                self._stop.wait(self._pause)

    def _send(self, client: httpx.Client, conversation: str | None, seen: dict[str, str]) -> None:
        headers = {"X-Conversation-Id": conversation} if conversation else {}
        try:
            answer = client.request(self._method, self._url, headers=headers)
        except httpx.TransportError as error:
            self._note(f"{type(error).__name__}: {error}")
            return
        served_by = answer.headers.get("X-Served-By", "")
        version = served_by.partition("@")[2].partition("/")[0]
        with self._lock:
            self.answered += 1
            self.statuses[answer.status_code] += 1
            self.failed += answer.status_code == 500
            if version and version != "-":
                self.versions.add(version)
        if answer.status_code in (502, 503, 504) or not served_by:
            self._note(f"{answer.status_code} from {served_by or 'nobody'}: {answer.text[:200]}")
        elif conversation:
            self._follow(conversation, version, seen)

    def _follow(self, conversation: str, version: str, seen: dict[str, str]) -> None:
        """Inside a conversation the version may change once when its budget is over, and back by a rollback; never to and fro."""
        before = seen.get(conversation)
        if before is not None and before != version:
            key = f"{conversation} {before}->{version}"
            if f"{key} moved" in seen:
                self._note_flip(key)
            seen[f"{key} moved"] = "1"
        seen[conversation] = version

    def _note(self, what: str) -> None:
        with self._lock:
            self.lost.append(what)

    def _note_flip(self, what: str) -> None:
        with self._lock:
            self.flips.append(what)
