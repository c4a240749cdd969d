"""The link to the server, on threads of its own: subscription down, reports up. A busy agent does not silence it, a server that is down does not
disturb the agent.
"""

import json
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

from servicing_sdk.configs import Configs
from servicing_sdk.documents import Document, NoDocument, parse, received
from servicing_sdk.surroundings import Surroundings

LINE_BYTES_MAX = 8 * 1024 * 1024

POLLS = 10
"""Long polls before a subscription is tried again, where streams are held back on the way."""

BACK_LATER = frozenset({401, 408, 429, 500, 503})
"""Answers of a server that has just started, is full or stops: it is asked again for a subscription, as one that does not answer at all."""

log = logging.getLogger("servicing_sdk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds. `silence`: a subscription without any sign of life for so long is dead. `wait`: of one long poll."""

    beat: float = 10.0
    silence: float = 45.0
    wait: float = 25.0
    retry_first: float = 0.5
    retry_most: float = 10.0
    answer: float = 5.0


class Link:
    """`state` gives the part of a report that is not about the configuration, `runtime` is told what acts on the process itself,
    `drain` that it ends and in how many seconds, or with None that it does not.
    """

    def __init__(
        self,
        *,
        around: Surroundings,
        configs: Configs,
        state: Callable[[], dict[str, Any]],
        runtime: Callable[[Mapping[str, Any]], None],
        drain: Callable[[float | None], None],
        client: str,
        pace: Pace,
    ) -> None:
        self._around, self._configs, self._state, self._runtime, self._client, self._pace = around, configs, state, runtime, client, pace
        self._drain, self._polls_left, self._offered = drain, 0, ""
        self._end, self._soon = threading.Event(), threading.Event()
        self._soon.set()  # the first report goes out at once
        self._threads: list[threading.Thread] = []
        self._values: list[dict[str, Any]] = []
        self._values_lock, self._speaking = threading.Lock(), threading.Lock()
        self._up: HTTPConnection | None = None
        self._failures = 0

    def start(self) -> None:
        for name, run in (("servicing-link", self._listen), ("servicing-beat", self._beat)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Lets the threads end; they are daemons, so nobody waits for a server that does not answer."""
        self._end.set()
        self._soon.set()
        if self._threads and threading.current_thread() not in self._threads:
            self._threads[-1].join(1.0)

    def report_soon(self) -> None:
        """Something changed that the server should know."""
        self._soon.set()

    def measured(self, metric: str, value: float) -> None:
        """Kept for the next beat; the oldest of too many go. Raises where the agent can see it when that is no number."""
        with self._values_lock:
            self._values = [*self._values, {"metric": str(metric), "value": float(value)}][-1_000:]

    # --- down ----------------------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._end.is_set():
            polled = self._polls_left > 0
            try:
                heard = self._poll() if polled else self._subscribe()
            except Exception as error:  # noqa: BLE001 (whatever was said: an agent that stops listening can never be told better)
                heard = False
                log.debug("not connected: %s", type(error).__name__)
            if polled and not heard:  # nobody is there at all: a stream was not what was held back
                self._polls_left = 0
            self._failures = 0 if heard else self._failures + 1
            self._end.wait(self._pause())

    def _pause(self) -> float:
        """Full jitter: a thousand instances must not come back at the same moment."""
        most = min(self._pace.retry_most, self._pace.retry_first * 2 ** min(self._failures, 10))
        return random.uniform(0.0, most)  # noqa: S311 (spreads load, hides nothing)

    def _subscribe(self) -> bool:
        """Until it ends; whether anything was heard. Only where something on the way lets no stream through is it asked instead: whoever
        polls takes no part in the first phase of a change, so a server that was away for a moment is no reason.
        """
        connection = self._connection(self._pace.silence)
        heard, held_back = False, False
        try:
            connection.request("GET", f"{self._around.base}/link", headers={**self._headers, "Accept": "text/event-stream"})
            held_back = True  # unless it shows to be something else: it was taken, and no answer came in all that time
            answer = connection.getresponse()
            with answer:  # which has taken the connection over when the server ends it with the answer
                if answer.status != 200:
                    held_back = answer.status not in BACK_LATER
                    self._refused(answer)
                    return False
                for event, data in events(answer):
                    heard = True
                    if self._end.is_set():
                        break
                    self._event(event, data)
        except (ConnectionError, IncompleteRead):  # it went away
            held_back = False
            raise
        finally:
            connection.close()
            if held_back and not heard:
                self._polls_left = POLLS
        return heard

    def _event(self, event: str, data: str) -> None:
        if event == "config":
            self._told(json.loads(data))
        elif event == "drain":
            self._drain(float(json.loads(data).get("deadline_seconds", 0)))
        elif event == "resume":
            self._drain(None)

    def _poll(self) -> bool:
        """One long poll: the fallback. Nobody is asked first this way, but the agent's own check still counts."""
        connection = self._connection(self._pace.wait + self._pace.answer)
        self._polls_left -= 1
        known = self._offered or (self._configs.state()["applied"] or {}).get("hash", "")
        try:
            headers = {**self._headers, "If-None-Match": f'"{known}"'}
            connection.request("GET", f"{self._around.base}/link/config?wait={self._pace.wait:g}", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status == 200:
                document = parse(answer.headers.get("X-Servicing-Revision", ""), text)
                self._offered = document.hash  # also when it is refused: the same one need not be offered again
                self._commit(document)
            elif answer.status != 304:
                self._refused(answer)
        except NoDocument:
            return False
        finally:
            connection.close()
        return answer.status in (200, 304)

    def _refused(self, answer: HTTPResponse) -> None:
        after = answer.headers.get("Retry-After", "")
        log.debug("the server answered %s", answer.status)
        if after.isdigit():
            self._end.wait(min(float(after), 60.0) + self._pause())

    def _told(self, message: dict[str, Any]) -> None:
        if message.get("phase") == "abort":
            self._configs.abort()
            self._report()
            return
        try:
            document = received(message)
        except NoDocument as error:
            log.warning("a configuration was passed over: %s", error)
            return
        if message.get("phase") == "prepare":
            self._configs.prepare(document)
            self._report()
        else:
            self._commit(document)

    def _commit(self, document: Document) -> None:
        if not self._configs.commit(document):
            self._runtime(document.runtime)
        self._report()

    # --- up ------------------------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while True:
            self._soon.wait(self._pace.beat * random.uniform(0.9, 1.0))  # noqa: S311 (spreads load)
            self._soon.clear()
            if self._end.is_set():
                break
            self._configs.tick()
            self._report()
            self._send_values()
        with self._speaking:
            self._hang_up()

    def _report(self) -> None:
        body = {"level": "sdk", "client": self._client, "config": self._configs.state(), **self._state()}
        self._post("/link", body)

    def _send_values(self) -> None:
        with self._values_lock:
            values, self._values = self._values, []
        if values and self._post("/reports", {"values": values}) is None:  # what the server refuses it would refuse for ever
            with self._values_lock:
                self._values = [*values, *self._values][-1_000:]

    def _post(self, path: str, body: dict[str, Any]) -> bool | None:
        """Whether the server took it; None when it may take it later."""
        text = json.dumps(body).encode()
        with self._speaking:
            for _ in range(0 if self._end.is_set() else 2):  # a connection that was kept may have been closed meanwhile
                fresh = self._up is None
                self._up = self._up or self._connection(self._pace.answer)
                try:
                    self._up.request(
                        "POST", self._around.base + path, body=text, headers={**self._headers, "Content-Type": "application/json"}
                    )
                    answer = self._up.getresponse()
                    answer.read()
                except (OSError, HTTPException):
                    self._hang_up()
                    if fresh:
                        break
                else:
                    return None if answer.status in (408, 429) or answer.status >= 500 else answer.status < 300
        return None

    def _hang_up(self) -> None:
        if self._up is not None:
            self._up.close()
            self._up = None

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._around.token}", "User-Agent": self._client}

    def _connection(self, timeout: float) -> HTTPConnection:
        url = urlsplit(self._around.url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        return kind(url.hostname or "127.0.0.1", url.port, timeout=timeout)


def events(answer: HTTPResponse) -> Iterator[tuple[str, str]]:
    """Server-sent events; a comment comes as ("", "")."""
    event, data = "message", list[str]()
    while raw := answer.readline(LINE_BYTES_MAX):
        line = raw.decode().rstrip("\r\n")
        if not line:
            if data:
                yield event, "\n".join(data)
            event, data = "message", []
        elif line.startswith(":"):
            yield "", ""
        else:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                event = value
            elif name == "data":
                data.append(value)
