"""The link as a server sees it: a fake one that an agent with the SDK subscribes to, reports to, and finds again."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any

import pytest

from servicing_sdk import Servicing
from servicing_sdk.documents import parse
from servicing_sdk.link import Pace
from servicing_sdk.surroundings import Surroundings

GENEROUS_SECONDS = 60.0
QUICK = Pace(beat=0.05, silence=0.5, wait=0.2, retry_first=0.01, retry_most=0.05, answer=5.0)


class FakeServer:
    """Sends what is put into `events` (None ends the subscription) and keeps what is reported."""

    def __init__(self, port: int = 0, *, streams: bool = True) -> None:
        self.events: Queue[str | None] = Queue()
        self.reports: list[dict[str, Any]] = []
        self.values: list[dict[str, Any]] = []
        self.document = json.dumps({"timeout_seconds": 77})
        self.subscriptions, self.tokens = 0, set[str]()
        fake, self.silent = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.tokens.add(self.headers["Authorization"])
                if self.path.endswith("/link") and streams:
                    fake.subscriptions += 1
                    self.send_response(200)
                    self.send_header("Content-Type", "text/event-stream")
                    self.send_header("Connection", "close")
                    self.end_headers()
                    fake.feed(self.wfile)
                    return
                body = fake.document.encode() if "/link/config" in self.path else b""
                same = parse("", fake.document).hash in self.headers.get("If-None-Match", "")
                self.send_response(502 if not body else 304 if same else 200)
                self.send_header("Content-Length", str(0 if same else len(body)))
                self.send_header("X-Servicing-Revision", "cfg-1-p7")
                self.end_headers()
                self.wfile.write(b"" if same else body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                (fake.reports if self.path.endswith("/link") else fake.values).append(body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def feed(self, wire: Any) -> None:
        while True:
            try:
                event = self.events.get(timeout=0.05)
            except Empty:
                if self.silent.is_set():
                    continue
                event = ": beat\n\n"
            if event is None:
                return
            try:
                wire.write(event.encode())
                wire.flush()
            except OSError:
                return

    def tell(self, phase: str, revision: str, **values: Any) -> None:
        document = json.dumps(values)
        message = {"phase": phase, "revision": revision, "hash": parse(revision, document).hash, "document": document, "apply": {}}
        self.events.put(f"event: config\ndata: {json.dumps(message)}\n\n")

    def close(self) -> None:
        self.events.put(None)
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.close()


def an_agent(server: FakeServer) -> Servicing:
    url = f"http://127.0.0.1:{server.http.server_address[1]}"
    around = Surroundings(url=url, token="t0ken", agent="Wow", instance="g1-1-1", version="1.0.0")
    servicing = Servicing(around=around, pace=QUICK)
    servicing.start()
    return servicing


def until(true: Callable[[], object]) -> None:
    for _ in range(int(GENEROUS_SECONDS / 0.01)):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def last(server: FakeServer) -> dict[str, Any]:
    return server.reports[-1]["config"] if server.reports else {}


def test_it_is_asked_answers_is_given_and_acknowledges_with_the_hash(server: FakeServer) -> None:
    servicing = an_agent(server)
    server.tell("prepare", "cfg-1-p1", timeout_seconds=60)
    until(lambda: (last(server).get("prepared") or {}).get("revision") == "cfg-1-p1")
    assert servicing.config == {}
    server.tell("commit", "cfg-1-p1", timeout_seconds=60)
    until(lambda: (last(server).get("applied") or {}).get("revision") == "cfg-1-p1")
    assert servicing.config == {"timeout_seconds": 60}
    assert last(server)["applied"]["hash"] == parse("", json.dumps({"timeout_seconds": 60})).hash
    assert server.tokens == {"Bearer t0ken"}
    servicing.stop()


def test_what_was_asked_and_will_not_come_is_dropped(server: FakeServer) -> None:
    servicing = an_agent(server)
    server.tell("prepare", "cfg-1-p1", timeout_seconds=60)
    until(lambda: last(server).get("prepared"))
    server.tell("abort", "cfg-1-p1")
    until(lambda: server.reports and last(server)["prepared"] is None)
    servicing.stop()


def test_it_comes_back_when_the_subscription_ends_and_when_it_falls_silent(server: FakeServer) -> None:
    servicing = an_agent(server)
    until(lambda: server.subscriptions == 1)
    server.events.put(None)
    until(lambda: server.subscriptions == 2)
    server.silent.set()
    until(lambda: server.subscriptions >= 3)
    servicing.stop()


def test_it_finds_a_server_that_was_away(server: FakeServer) -> None:
    servicing = an_agent(server)
    until(lambda: server.reports)
    port = server.http.server_address[1]
    server.close()
    again = FakeServer(port)
    again.tell("commit", "cfg-1-p2", timeout_seconds=90)
    until(lambda: servicing.config == {"timeout_seconds": 90})
    servicing.stop()
    again.close()


def test_where_streams_are_held_back_it_polls() -> None:
    server = FakeServer(streams=False)
    servicing = an_agent(server)
    until(lambda: servicing.config == {"timeout_seconds": 77})
    until(lambda: (last(server).get("applied") or {}).get("revision") == "cfg-1-p7")
    servicing.stop()
    server.close()


def test_messages_that_cannot_be_read_are_passed_over(server: FakeServer) -> None:
    servicing = an_agent(server)
    server.events.put('event: config\ndata: {"phase": "commit", "revision": "x", "document": "[]"}\n\n')
    server.events.put("event: something-new\ndata: 1\n\n")
    server.tell("commit", "cfg-1-p1", timeout_seconds=60)
    until(lambda: servicing.config == {"timeout_seconds": 60})
    servicing.stop()


def test_metrics_go_with_the_beat(server: FakeServer) -> None:
    servicing = an_agent(server)
    servicing.report("quality", 0.93)
    until(lambda: server.values)
    assert server.values[0] == {"values": [{"metric": "quality", "value": 0.93}]}
    servicing.stop()
