"""Local servers that take notifications for the tests: HTTP that answers as told, and SMTP. They run in threads of their own, on loopback."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Taken:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    """Waits for it before it answers."""


@dataclass
class Receiver:
    """An HTTP server: `reply` answers each request."""

    url: str
    port: int
    taken: list[Taken]
    reply: Callable[[Taken], Reply]

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}"

    def bodies(self) -> list[Any]:
        return [request.json for request in self.taken]


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    taken: list[Taken] = []

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            request = Taken(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length))
            taken.append(request)
            reply = receiver.reply(request)
            if reply.hold is not None:
                reply.hold.wait(60)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                pass  # whoever asked has left

        do_GET = do_POST = do_PUT = do_PATCH = _any  # noqa: N815  (the base class finds them by these names)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    port = server.server_address[1]
    receiver = Receiver(url=f"http://127.0.0.1:{port}", port=port, taken=taken, reply=lambda _: Reply())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailBox:
    port: int
    mails: list[Envelope]


@contextmanager
def mail_receiver() -> Iterator[MailBox]:
    mails: list[Envelope] = []

    class Handler:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
            mails.append(envelope)
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield MailBox(port=controller.port, mails=mails)
    finally:
        controller.stop()


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def dripping() -> "tuple[int, Callable[[], None]]":
    """A server that answers one byte at a time, for ever; its port, and what ends it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    over = threading.Event()

    def serve() -> None:
        with closing(listener):
            connection, _ = listener.accept()
            with closing(connection):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not over.wait(0.1):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1]), over.set


def monotonic() -> float:
    return time.monotonic()  # noqa: TID251  (how long something real took)
