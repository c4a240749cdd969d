"""In front of the agent's own application: the paths that the server calls, and counting. Pure ASGI, so that it stands before any framework."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from servicing_sdk.answers import ANSWER, Answer
from servicing_sdk.documents import DOCUMENT_BYTES_MAX, NoDocument, received
from servicing_sdk.work import GOING_AWAY

if TYPE_CHECKING:
    from servicing_sdk.servicing import Servicing

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/.well-known/servicing/"


class TooLarge(Exception):
    pass


class Middleware:
    """`app` behind the SDK."""

    def __init__(self, app: App, servicing: "Servicing") -> None:
        self._app, self._servicing = app, servicing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await _Control(self._servicing, scope, receive, send).answer()
        elif scope["type"] in ("http", "websocket"):
            await self._served(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        servicing = self._servicing
        wanted = servicing.conversation_header.lower().encode()
        name = next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), None)
        serve = self._answered if scope["type"] == "http" else self._until_goodbye
        with servicing.work.request() if scope["type"] == "http" else nullcontext():
            if name is None:
                await serve(scope, receive, send)
                return
            async with servicing.conversation(name):
                await serve(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events are a stream, whether the agent says so or not."""
        answer = Answer(self._servicing.work, send)
        token = ANSWER.set(answer)
        try:
            await answer.until_over(self._app(scope, receive, answer.send))
        finally:
            ANSWER.reset(token)
            answer.close()

    async def _until_goodbye(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket is a stream: when the time of a drain is up it is closed so that the client comes back, to another instance."""
        async with self._servicing.stream() as stream:
            serving = asyncio.ensure_future(self._app(scope, receive, send))
            ending = asyncio.ensure_future(stream.time_is_up())
            try:
                await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                    return
                await send({"type": "websocket.close", "code": GOING_AWAY, "reason": "this instance is being replaced"})
            finally:
                ending.cancel()
                serving.cancel()
                await asyncio.wait({serving})


class _Control:
    """One request of the server."""

    def __init__(self, servicing: "Servicing", scope: Scope, receive: Receive, send: Send) -> None:
        self._servicing, self._scope, self._receive, self._send = servicing, scope, receive, send
        self._method, self._path = scope["method"], scope["path"].removeprefix(PREFIX)

    async def answer(self) -> None:
        if self._path == "ready" and self._method == "GET":
            await self._ready()
            return
        if not self._authorised():
            await self._json(401, {"errors": [{"path": "", "message": "the instance's own token is needed"}]})
            return
        route = {
            ("GET", "info"): self._info,
            ("POST", "config/prepare"): self._prepare,
            ("POST", "config/commit"): self._commit,
            ("GET", "drain"): self._load,
            ("POST", "drain"): self._drain,
            ("DELETE", "drain"): self._resume,
            ("GET", "state/export"): self._export,
            ("POST", "state/import"): self._import,
            ("POST", "state/migrate"): self._migrate,
        }.get((self._method, self._path))
        if route is None:
            await self._json(404, {"errors": [{"path": "", "message": "there is nothing here"}]})
            return
        try:
            await route()
        except (NoDocument, ValueError, KeyError, TypeError) as error:
            await self._json(422, {"errors": [{"path": "", "message": f"the request cannot be read: {type(error).__name__}"}]})
        except TooLarge:
            await self._json(413, {"errors": [{"path": "", "message": "the request is too large"}]})

    def _authorised(self) -> bool:
        given = next((value for key, value in self._scope["headers"] if key == b"authorization"), b"")
        return hmac.compare_digest(given, b"Bearer " + self._servicing.around.token.encode()) and bool(self._servicing.around.token)

    async def _ready(self) -> None:
        report = self._servicing.work.report()
        ready = report["state"] in ("ready", "busy")
        await self._json(200 if ready else 503, {"state": report["state"], "reason": self._servicing.work.reason})

    async def _info(self) -> None:
        await self._json(200, self._servicing.info())

    async def _prepare(self) -> None:
        document = await self._document()
        problems = await asyncio.to_thread(self._servicing.configs.prepare, document)
        await self._json(422 if problems else 200, {"errors": problems} if problems else document.name)

    async def _commit(self) -> None:
        document = await self._document()
        problems = await asyncio.to_thread(self._servicing.configs.commit, document)
        if not problems:
            self._servicing.act_on(document.runtime)
        state = self._servicing.configs.state()
        await self._json(422 if problems else 200, {"errors": problems} if problems else {**document.name, "pending": state["pending"]})

    async def _load(self) -> None:
        work = self._servicing.work
        await self._json(200, {"draining": work.draining, **work.load()})

    async def _drain(self) -> None:
        body = json.loads(await self._body() or b"{}")
        self._servicing.drain(float(body.get("deadline_seconds", 0)))
        await self._load()

    async def _resume(self) -> None:
        self._servicing.drain(None)
        await self._load()

    async def _export(self) -> None:
        exporter = self._servicing.state.exporter
        if exporter is None:
            await self._json(501, {"errors": [{"path": "", "message": "this agent exports no state"}]})
            return
        await self._send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-ndjson")]})
        async for record in exporter():
            await self._send({"type": "http.response.body", "body": json.dumps(record).encode() + b"\n", "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _import(self) -> None:
        await self._json(200, await self._servicing.state.take_in((await self._body()).decode().splitlines()))

    async def _migrate(self) -> None:
        await self._json(200, await self._servicing.state.migrate_to(int(json.loads(await self._body())["to"])))

    async def _document(self) -> Any:
        body = json.loads(await self._body())
        return received(body)

    async def _body(self) -> bytes:
        parts, size = [], 0
        while True:
            message = await self._receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > 2 * DOCUMENT_BYTES_MAX:
                raise TooLarge
            if not message.get("more_body"):
                return b"".join(parts)

    async def _json(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
