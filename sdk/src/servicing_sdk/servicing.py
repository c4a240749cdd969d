"""The one object an agent makes. Everything here does nothing harmful, and nothing at all, when no server started this process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from os import PathLike
from typing import Any

from servicing_sdk.answers import ANSWER
from servicing_sdk.asgi import App, Middleware
from servicing_sdk.configs import Apply, Check, Configs
from servicing_sdk.kept import Kept
from servicing_sdk.link import Link, Pace
from servicing_sdk.schema import defaults_of
from servicing_sdk.state import StateHooks
from servicing_sdk.surroundings import Surroundings
from servicing_sdk.work import Stream, Work

CLIENT = "servicing-sdk/0.1.0"

_conversation: ContextVar[str | None] = ContextVar("servicing_conversation", default=None)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation's view of the configuration: keys of the scope `next-conversation` stay as they were when it began."""

    name: str
    config: Any


class Servicing:
    """`config_model`: a pydantic model whose defaults hold where nothing else is said; without one the configuration is a dictionary, whose
    defaults come from `schema`, a file with the JSON Schema. One of the two at most, else ValueError.

    `conversation_header` tells conversations apart; `state_writes` and `state_reads` repeat the manifest's `[state]`.
    """

    def __init__(
        self,
        config_model: Any = None,
        *,
        schema: str | PathLike[str] | None = None,
        conversation_header: str = "X-Conversation-Id",
        state_writes: int | None = None,
        state_reads: Iterable[int] = (),
        around: Surroundings | None = None,
        pace: Pace | None = None,
    ) -> None:
        if config_model is not None and schema is not None:
            raise ValueError("give either config_model or schema: two sources of defaults would contradict each other")
        self.around = around or Surroundings.read()
        self.conversation_header = conversation_header
        self.work = Work(on_idle=self._report_soon)
        self.state = StateHooks(writes=state_writes, reads=state_reads)
        self.flags: Mapping[str, Any] = {}
        self._kept = Kept(self.around.cache if self.around.connected else None, self.around.instance)
        self.configs = Configs(model=config_model, defaults=defaults_of(schema) if schema is not None else {}, kept=self._kept)
        self.configs.start(self.around.revision, self._given())
        self._link: Link | None = None
        self._pace = pace or Pace()
        self._ended = False
        self._level: int | None = None

    # --- configuration -------------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Any:
        """The configuration in use; inside a conversation, that conversation's."""
        name = _conversation.get()
        return self.configs.current if name is None else self.configs.pinned(name)

    def on_prepare(self, function: Check) -> Check:
        """Called with (new, old) before anybody uses it; raising `ConfigRejected` refuses it everywhere. It must change nothing."""
        return self.configs.check(function)

    def on_config(self, function: Apply) -> Apply:
        """Called with (new, old) to make a change take effect; raising refuses it and keeps the old one. May be asynchronous."""
        return self.configs.apply(function)

    def flag(self, name: str, default: Any = None) -> Any:
        """A feature flag of `servicing.flags`."""
        found = self.flags.get(name, default)
        return found.get("value", default) if isinstance(found, Mapping) else found

    # --- work ----------------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def conversation(self, name: str) -> AsyncIterator[Conversation]:
        """A turn of a conversation. The values it began with are held until they have not been used for a long time."""
        token = _conversation.set(name)
        try:
            with self.work.conversation(name):
                yield Conversation(name, self.configs.pinned(name))
        finally:
            _conversation.reset(token)

    def end_conversation(self, name: str) -> None:
        """It is over: should it begin again, it sees the newest values."""
        self.configs.forget(name)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """A long answer, counted apart: the server gives streams more time before the instance ends."""
        answer = ANSWER.get()
        if answer is not None:
            answer.leave_to_agent()
        with self.work.stream() as stream:
            yield stream

    async def sse(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Server-sent events that say goodbye when the instance is on its way out: the body of a streaming response."""
        async with self.stream() as stream:
            async for chunk in stream.until_goodbye(chunks):
                yield chunk

    def report(self, metric: str, value: float) -> None:
        """A metric of the agent's own, such as quality or cost; deployments can have limits on it."""
        if self._link is not None:
            self._link.measured(metric, value)

    def busy(self, reason: str = "") -> None:
        """Still healthy, but better not given more work; `ready()` takes it back."""
        self._now("busy", reason)

    def ready(self) -> None:
        self._now("ready", "")

    def unavailable(self, reason: str) -> None:
        self._now("unavailable", reason)

    # --- life ----------------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:  # noqa: ARG002 (what frameworks call a lifespan with)
        """For `FastAPI(lifespan=servicing.lifespan)`; in a lifespan of your own, use it as a context manager."""
        with self.running():
            yield

    def start(self) -> None:
        """Begin to listen to the server; called by `lifespan`. Harmless twice."""
        try:
            self.configs.run_on(asyncio.get_running_loop())
        except RuntimeError:
            self.configs.run_on(None)
        self.work.state = "ready" if self.work.state == "starting" else self.work.state
        if self._link is None and self.around.connected:
            self._link = Link(
                around=self.around,
                configs=self.configs,
                state=self.work.report,
                runtime=self.act_on,
                drain=self.drain,
                client=CLIENT,
                pace=self._pace,
            )
            self._link.start()

    def stop(self) -> None:
        """This process ends as it should: not counted as an exit of the configuration in use."""
        self._silence()
        if not self._ended:
            self._ended = True
            self._kept.end()

    def _silence(self) -> None:
        self.configs.run_on(None)
        if self._link is not None:
            self._link.stop()

    @contextmanager
    def running(self) -> Iterator[None]:
        """From start to stop, for programs without a lifespan. Leaving it by an exception is an exit that counts against the configuration."""
        self.start()
        try:
            yield
        except BaseException:
            self._silence()
            raise
        self.work.drain(0.0)
        self.stop()

    def drain(self, deadline_seconds: float | None) -> None:
        """Asked by the server to come to an end within that time; None takes it back."""
        if deadline_seconds is None:
            self.work.resume()
        else:
            self.work.drain(deadline_seconds)
        self._report_soon()

    def mount(self, app: Any) -> Any:
        """Put the SDK in front of an application. FastAPI and Starlette are changed in place; a plain ASGI application comes back wrapped."""
        if hasattr(app, "add_middleware"):
            app.add_middleware(Middleware, servicing=self)
            return app
        return self.asgi(app)

    def asgi(self, app: App) -> App:
        """A plain ASGI application behind the SDK, which also starts and ends with it."""
        inner = Middleware(app, self)

        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                await inner(scope, receive, send)
                return
            with self.running():
                await _lifespan(app, scope, receive, send)

        return wrapped

    def info(self) -> dict[str, Any]:
        """What the server gets when it asks."""
        return {
            "version": self.around.version,
            "contract": "1",
            "level": "http",
            "client": CLIENT,
            "config": self.configs.state(),
            **self.work.report(),
            "state_schema": {"writes": self.state.writes, "reads": self.state.reads},
        }

    def act_on(self, runtime: Mapping[str, Any]) -> None:
        """Reserved keys: the log level of this process, and flags."""
        root, level = logging.getLogger(), runtime.get("log_level")
        if isinstance(level, str) and level in logging.getLevelNamesMapping():
            self._level = root.level if self._level is None else self._level
            root.setLevel(level)
        elif self._level is not None:
            root.setLevel(self._level)
            self._level = None
        flags = runtime.get("flags")
        self.flags = flags if isinstance(flags, Mapping) else {}

    def _now(self, state: Any, reason: str) -> None:
        self.work.state, self.work.reason = state, reason
        self._report_soon()

    def _report_soon(self) -> None:
        if self._link is not None:
            self._link.report_soon()

    def _given(self) -> str | None:
        file = self.around.file
        try:
            return file.read_text(encoding="utf-8") if file is not None else None
        except (OSError, UnicodeDecodeError):
            return None


async def _lifespan(app: App, scope: Any, receive: Any, send: Any) -> None:
    """The application's own lifespan, or the protocol on its behalf when it has none, or takes it for a request."""
    spoke, unanswered = False, list[Any]()

    async def heard(message: Any) -> None:
        nonlocal spoke
        if not message["type"].startswith("lifespan."):
            raise RuntimeError("this is no request")
        spoke = True
        await send(message)

    async def received() -> Any:
        message = await receive()
        unanswered.append(message)
        return message

    try:
        await app(scope, received, heard)
    except Exception:
        if spoke:
            raise
    if not spoke:
        while True:
            message = unanswered.pop() if unanswered else await receive()
            kind = message["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
