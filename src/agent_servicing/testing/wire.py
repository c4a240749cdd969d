"""Called by the traffic generator: one HTTP/1.1 connection that is kept open, turning a request into an answer or into the way it was lost.

Nothing is retried, so that a lost request is seen. A connection that the other side closed while nothing was under way is replaced first.
"""

import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

CONNECT_TIMEOUT_SECONDS = 10.0
LARGEST_BODY_BYTES = 1_000_000
"""More of a body is counted but not kept."""

LossKind = Literal["connect", "dropped", "timeout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `target` is path and query as sent."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One complete response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Exception):
    """No complete response: nobody accepted the connection, it ended too early, or time ran out. `headers` are those that had arrived."""

    def __init__(self, kind: LossKind, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.kind: LossKind = kind
        self.headers = headers


class Wire:
    """A client that has at most one connection to `host:port`. An asynchronous context manager; not for use by two tasks at once."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._stream: SocketStream | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def ask(self, request: Request, *, timeout_seconds: float, heard: Callable[[bytes], None] | None = None) -> Answer:
        """Send it and read the whole response; `heard` gets each piece of the body as it arrives. Raises `Lost`."""
        self._headers = {}
        try:
            with anyio.fail_after(timeout_seconds):
                stream = await self._connected()
                await stream.send(self._encoded(request))
                answer = await self._read(stream, heard)
        except TimeoutError as error:
            await self._close()
            raise Lost("timeout", f"no complete response within {timeout_seconds:g} s", self._headers) from error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, h11.RemoteProtocolError) as error:
            await self._close()
            raise Lost("dropped", f"{type(error).__name__}: {error}", self._headers) from error
        except BaseException:
            await self._close()  # cancelled in the middle of a response: the connection cannot be used again
            raise
        await self._recycle()
        return answer

    async def _connected(self) -> SocketStream:
        if self._stream is not None and _ended(self._stream):
            await self._close()
        if self._stream is None:
            try:
                with anyio.fail_after(CONNECT_TIMEOUT_SECONDS):
                    self._stream = await anyio.connect_tcp(self._host, self._port)
            except (OSError, TimeoutError) as error:
                raise Lost("connect", f"{type(error).__name__}: {error}", {}) from error
            self._http = h11.Connection(h11.CLIENT)
        return self._stream

    def _encoded(self, request: Request) -> bytes:
        headers = {"Host": f"{self._host}:{self._port}", **request.headers}
        if request.body or request.method not in {"GET", "HEAD", "DELETE"}:
            headers["Content-Length"] = str(len(request.body))
        start = h11.Request(method=request.method, target=request.target, headers=list(headers.items()))
        events: list[h11.Event] = [start, *([h11.Data(data=request.body)] if request.body else []), h11.EndOfMessage()]
        return b"".join(self._http.send(event) or b"" for event in events)

    async def _read(self, stream: SocketStream, heard: Callable[[bytes], None] | None) -> Answer:
        status, body = 0, bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await _received(stream))
            elif isinstance(event, h11.Response):
                status = event.status_code
                self._headers.update({name.decode(): value.decode("latin-1") for name, value in event.headers})
            elif isinstance(event, h11.Data):
                if len(body) < LARGEST_BODY_BYTES:
                    body += event.data
                if heard:
                    heard(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status=status, headers=self._headers, body=bytes(body))
            elif isinstance(event, h11.ConnectionClosed):
                raise anyio.EndOfStream

    async def _recycle(self) -> None:
        """Make ready for the next request, or close when the other side said that there will be none."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self._close()

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)


async def _received(stream: SocketStream) -> bytes:
    """The next bytes, none at the end: that is how h11 learns of it, and it knows whether the response was complete by then."""
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""


def _ended(stream: SocketStream) -> bool:
    """Whether there is something to read where nothing is expected: the other side has closed."""
    poll = select.poll()
    poll.register(stream.extra(SocketAttribute.raw_socket), select.POLLIN)
    return bool(poll.poll(0))
