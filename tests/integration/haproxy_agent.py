"""A tiny agent for the data plane's tests: a program of its own, so that it can be killed. `haproxy_agent.py NAME` prints its port.

/status/N answers that status, /slow/MS answers late, /hang never, /drop closes without an answer, /count tells how many requests came,
/sse/N streams N events of which the second and later wait for a GET of /next, an upgrade becomes an echo; anything else tells about itself.
The header X-Set-Cookies: A|B makes it set these.
"""

import json
import os
import sys

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

NAME = sys.argv[1]
seen = 0
step = anyio.Event()


async def serve(stream: SocketStream) -> None:
    reader = BufferedByteReceiveStream(stream)
    async with stream:
        try:
            while await answer(stream, reader):
                pass
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            return


async def answer(stream: SocketStream, reader: BufferedByteReceiveStream) -> bool:
    global seen, step  # noqa: PLW0603 (the state of a program of forty lines)
    head = (await reader.receive_until(b"\r\n\r\n", 65536)).decode()
    request, *lines = head.split("\r\n")
    method, target, _ = request.split(" ")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(": ") for line in lines):
        headers[name.lower()] = f"{headers[name.lower()]} | {value}" if name.lower() in headers else value
    body = await reader.receive_exactly(int(headers.get("content-length", 0))) if "content-length" in headers else b""
    what, _, number = target.strip("/").partition("/")
    seen += what not in ("count", "next")
    if headers.get("upgrade"):
        await stream.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        while True:
            await stream.send(await reader.receive())
    match what:
        case "hang":
            await anyio.sleep_forever()
        case "drop":
            return False
        case "slow":
            await anyio.sleep(int(number) / 1000)  # noqa: TID251 (this is the agent, slow on purpose)
        case "sse":
            await stream_events(stream, int(number))
            return False
        case "next":
            step.set()
            step = anyio.Event()
    status = int(number) if what == "status" else 200
    text = str(seen) if what == "count" else json.dumps({"instance": NAME, "path": target, "headers": headers, "body": body.decode()})
    if method == "HEAD":
        text = ""
    more = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in headers.get("x-set-cookies", "").split("|") if cookie)
    await stream.send(f"HTTP/1.1 {status} Fine\r\n{more}Content-Length: {len(text.encode())}\r\n\r\n{text}".encode())
    return True


async def stream_events(stream: SocketStream, count: int) -> None:
    await stream.send(b"HTTP/1.1 200 Fine\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        if number:
            await step.wait()
        event = f"data: {NAME} {number}\n\n".encode()
        await stream.send(f"{len(event):x}\r\n".encode() + event + b"\r\n")
    await stream.send(b"0\r\n\r\n")


async def main() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    print(listener.extra(SocketAttribute.local_port), flush=True)  # noqa: T201 (how the test learns the port)
    await listener.serve(serve)


if __name__ == "__main__":
    try:
        anyio.run(main)
    except KeyboardInterrupt:
        os._exit(0)
