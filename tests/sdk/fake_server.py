"""The server's side of the link, as small as it can be: tests say what is wanted and see what was reported."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from servicing_sdk.documents import parse
from servicing_sdk.link import Pace
from servicing_sdk.surroundings import Surroundings

TOKEN = "the-instance's-own"
QUICK = Pace(beat=0.05, silence=2.0, wait=0.2, retry_first=0.01, retry_most=0.05, answer=5.0)
GENEROUS_SECONDS = 20.0
BEAT_SECONDS = QUICK.silence / 8
"""As the real server does: a subscription that is kept does not die while a test waits for something else."""


def text_of(**values: object) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def message(
    revision: str, phase: str = "commit", apply: dict[str, str] | None = None, runtime: Any = None, **values: object
) -> dict[str, Any]:
    document = parse(revision, text_of(**values))
    return {
        "phase": phase,
        **document.name,
        "document": document.text,
        "apply": apply or {},
        "runtime": runtime or {},
        "deadline_seconds": 2.0,
    }


class FakeServer:
    """`streams`: whether subscriptions are let through. Everything that was posted is in `posts`; `polls` counts what was asked instead of
    a subscription. `port` 0 is any free one.
    """

    def __init__(self, port: int = 0) -> None:
        self.streams = True
        self.polls = 0
        self.wanted: dict[str, Any] | None = None
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str] = set()
        self._listeners: list[queue.SimpleQueue[tuple[str, Any] | None]] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def say(self, event: str, data: dict[str, Any]) -> None:
        """To every subscriber; there is one, or there will be."""
        with self._changed:
            self.until_subscribed()
            for listener in self._listeners:
                listener.put((event, data))

    def until_subscribed(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._listeners, GENEROUS_SECONDS)

    def cut(self) -> None:
        """Every subscription ends."""
        with self._changed:
            for listener in self._listeners:
                listener.put(None)
            self._listeners.clear()

    def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first report of which that is true."""
        seen = 0
        with self._changed:
            while True:
                for path, body in self.posts[seen:]:
                    if path.endswith("/link") and true(body):
                        return body
                seen = len(self.posts)
                if not self._changed.wait(GENEROUS_SECONDS):
                    raise AssertionError(f"never reported; the last was {self.posts[-1:]}")

    def until_posted(self, ending: str) -> dict[str, Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: any(path.endswith(ending) for path, _ in self.posts), GENEROUS_SECONDS)
            return next(body for path, body in self.posts if path.endswith(ending))

    @contextmanager
    def running(self) -> Iterator["FakeServer"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.cut()
            self._server.shutdown()
            self._server.server_close()

    def surroundings(self, folder: Path, document: str | None = None, instance: str = "i-1") -> Surroundings:
        """Those of an instance that this server started."""
        file = folder / f"{instance}.json"
        if document is not None:
            file.write_text(document)
        return Surroundings(
            url=self.url, token=TOKEN, agent="Wow Agent", instance=instance, revision="cfg-0", file=file, cache=folder / "kept"
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.endswith("/link"):
                    server._subscribed(self)
                else:
                    server._polled(self)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._changed:
                    server.tokens.add(self.headers["Authorization"])
                    server.posts.append((self.path, body))
                    server._changed.notify_all()
                answer(self, 200, b"{}")

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _subscribed(self, request: BaseHTTPRequestHandler) -> None:
        if not self.streams:
            answer(request, 502, b"")
            return
        listener: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        with self._changed:
            self._listeners.append(listener)
            self._changed.notify_all()
            if self.wanted is not None:
                listener.put(("config", self.wanted))
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        with suppress(OSError):  # it hung up
            request.wfile.write(b": beat\n\n")
            while (said := _next(listener)) is not None:
                request.wfile.write(f"event: {said[0]}\ndata: {json.dumps(said[1])}\n\n".encode() if said else b": beat\n\n")
        with self._changed:  # what is said from now on is for the next one
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _polled(self, request: BaseHTTPRequestHandler) -> None:
        known = request.headers["If-None-Match"]
        with self._changed:
            self.polls += 1
            self._changed.wait_for(lambda: self.wanted is not None and known != f'"{self.wanted["hash"]}"', 0.2)
            wanted = self.wanted
        if wanted is None or known == f'"{wanted["hash"]}"':
            answer(request, 304, b"")
        else:
            answer(request, 200, wanted["document"].encode(), {"ETag": wanted["hash"], "X-Servicing-Revision": wanted["revision"]})


def _next(listener: queue.SimpleQueue[tuple[str, Any] | None]) -> tuple[str, Any] | tuple[()] | None:
    """What is to be said next, nothing when it is time for a sign of life, None at the end."""
    try:
        return listener.get(timeout=BEAT_SECONDS)
    except queue.Empty:
        return ()


def answer(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
