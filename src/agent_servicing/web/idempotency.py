"""`Idempotency-Key` on every request that changes something: a repeated request gets the first one's answer instead of a second act."""

import hashlib
import hmac
from typing import Final

import anyio
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_servicing.core.errors import ServicingError
from agent_servicing.services.idempotency import Idempotency
from agent_servicing.web.auth import LINK_PATHS, caller_of, credential_shown
from agent_servicing.web.context import WebContext
from agent_servicing.web.limits import IDEMPOTENCY_KEY_CHARACTERS_MAX
from agent_servicing.web.problems import MEDIA_TYPE, error_response, problem_response

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
METHODS: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})

NOT_KEPT: Final = frozenset({400, 401, 403, 408, 413, 415, 422, 429})
"""Refused before anything was tried: the corrected request may use the same key. Nothing from 500 up is kept either."""


def keep_secret(request: Request) -> None:
    """Called by a route whose answer holds a secret: a repetition then gets 409 instead, because secrets are not kept."""
    request.state.answer_not_kept = "held a secret that is shown once"


def keep_file(request: Request) -> None:
    """Called by a route whose answer is a whole file, which is not kept either."""
    request.state.answer_not_kept = "was a file"


class IdempotencyMiddleware:
    """Stands inside authentication, so that keys belong to a token, and outside everything that could act."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._store = context.services.idempotency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What an instance reports is its state, not an act: saying it twice is the rule, and keeping the answers would cost a write each.
        if scope["type"] != "http" or scope["method"] not in METHODS or LINK_PATHS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        key = request.headers.get(HEADER)
        if key is None or not hasattr(request.state, "caller"):
            await self._app(scope, receive, send)
            return
        if not _usable(key):
            detail = f"{HEADER} must be 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable ASCII characters."
            await problem_response(request, 422, "bad_idempotency_key", detail)(scope, receive, send)
            return
        try:
            stored, body = await self._begin(request, key)
        except (ServicingError, HTTPException) as error:
            await error_response(request, error)(scope, receive, send)
            return
        if stored is not None:
            await stored(scope, receive, send)
            return
        await _Recorder(self._store, key, request).run(self._app, body, send)

    async def _begin(self, request: Request, key: str) -> tuple[Response | None, bytes]:
        body = await request.body()
        principal = caller_of(request).token_id
        path = request.url.path + ("?" + request.url.query if request.url.query else "")
        # Keyed with the caller's own secret, which is stored nowhere: from a plain hash of a body a short secret in it could be guessed.
        digest = hmac.new(credential_shown(request).secret.encode(), body, hashlib.sha256).hexdigest()
        stored = await self._store.begin(key=key, principal=principal, method=request.method, path=path, body_hash=digest)
        if stored is None:
            return None, body
        media_type = "application/json" if stored.status < 400 else MEDIA_TYPE
        answer = Response(stored.body, status_code=stored.status, media_type=media_type if stored.body else None)
        answer.headers[REPLAYED] = "true"
        return answer, body


class _Recorder:
    """Runs one request, passes its answer through and keeps it."""

    def __init__(self, store: Idempotency, key: str, request: Request) -> None:
        self._store, self._key, self._request = store, key, request
        self._principal = caller_of(request).token_id
        self._status = 500
        self._parts: list[bytes] = []

    async def run(self, app: ASGIApp, body: bytes, send: Send) -> None:
        sent = False

        async def replay_body() -> Message:
            nonlocal sent
            if sent:
                return await self._request.receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def record(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                MutableHeaders(scope=message)[REPLAYED] = "false"
            elif message["type"] == "http.response.body":
                if self._not_kept is None:
                    self._parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    # Kept before the last byte goes out: whoever has the answer can rely on its repetition.
                    await self._conclude()
            await send(message)

        try:
            await app(self._request.scope, replay_body, record)
        except BaseException:
            # The caller may have gone or the server be stopping: the key must not stay "under way" for a day.
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await self._store.forget(key=self._key, principal=self._principal)
            raise

    @property
    def _not_kept(self) -> str | None:
        found: str | None = getattr(self._request.state, "answer_not_kept", None)
        return found

    async def _conclude(self) -> None:
        if self._status >= 500 or self._status in NOT_KEPT:
            await self._store.forget(key=self._key, principal=self._principal)
            return
        status, body = self._status, b"".join(self._parts)
        if self._not_kept is not None:
            detail = f"A request with this Idempotency-Key was already carried out; its answer {self._not_kept}."
            refusal = problem_response(self._request, 409, "answer_not_kept", detail)
            status, body = 409, bytes(refusal.body)
        await self._store.finish(key=self._key, principal=self._principal, status=status, body=body)


def _usable(key: str) -> bool:
    return 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX and key.isascii() and key.isprintable()
