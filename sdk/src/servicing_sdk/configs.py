"""The configuration in use, and how it changes: asked (prepare), then swapped (commit). Whoever reads it has the old one or the new one."""

import asyncio
import inspect
import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servicing_sdk.documents import Document, NoDocument, parse
from servicing_sdk.kept import Kept
from servicing_sdk.schema import over

CONVERSATIONS_MAX = 10_000
"""Conversations whose values are held; the longest unused ones begin anew."""

IDLE_SECONDS = 3600.0
"""A conversation that was silent for so long begins anew."""

APPLY_SECONDS = 10.0
"""How long the agent's own code may take over a change."""

ENDED_EARLY = "instances ended right after it was committed; it is not used until another one was"

log = logging.getLogger("servicing_sdk")

ABSENT = object()

Check = Callable[[Any, Any], None]
Apply = Callable[[Any, Any], Awaitable[None] | None]
Problem = dict[str, str]


class ConfigRejected(Exception):
    """Raised by the agent's own check: this value is not for me. The message goes to the operator; keep secrets out of it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path, self.message = path, message


@dataclass(frozen=True, slots=True)
class InUse:
    """A document and what the agent's code sees of it."""

    document: Document
    seen: Any


class Configs:
    """`model` is a pydantic model, or None: the agent's code then sees a plain dictionary over the `defaults`."""

    def __init__(self, *, model: Any, kept: Kept, defaults: Mapping[str, Any] | None = None) -> None:
        self._model, self._kept, self._defaults = model, kept, defaults or {}
        self._lock, self._pins_lock = threading.RLock(), threading.Lock()  # apart: requests go on while a change is being applied
        self._checks: list[Check] = []
        self._applies: list[Apply] = []
        self._pins: OrderedDict[str, tuple[InUse, float]] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prepared: Document | None = None
        self._attempt: dict[str, Any] | None = None
        self._good: dict[str, str] | None = None
        self._used = InUse(parse("", "{}"), None)
        self._began: Mapping[str, Any] = {}

    # --- for the agent -------------------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Any:
        return self._used.seen

    def check(self, function: Check) -> Check:
        self._checks.append(function)
        return function

    def apply(self, function: Apply) -> Apply:
        self._applies.append(function)
        return function

    def run_on(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Changes are applied on this loop from now on."""
        self._loop = loop

    def pinned(self, conversation: str) -> Any:
        """What a conversation sees: `next-conversation` keys as they were when it began, everything else as it is now."""
        with self._pins_lock:
            used = self._used
            pin, _ = self._pins.get(conversation, (used, 0.0))
            self._pins[conversation] = pin, time.monotonic()
            self._pins.move_to_end(conversation)
            while len(self._pins) > CONVERSATIONS_MAX:
                self._pins.popitem(last=False)
        later = [key for key, scope in used.document.apply.items() if scope == "next-conversation"]
        kept = [key for key in later if at(used.document.values, key) != at(pin.document.values, key)]
        if not kept:
            return used.seen
        values = deepcopy(dict(used.document.values))
        for key in kept:
            put(values, key, at(pin.document.values, key))
        return self._seen(values)

    def forget(self, conversation: str) -> None:
        with self._pins_lock:
            self._pins.pop(conversation, None)

    # --- at the start --------------------------------------------------------------------------------------------------------------

    def start(self, revision: str, text: str | None) -> None:
        """The configuration this process begins with: the one it was given, unless that is broken or known to end processes."""
        self._kept.begin()
        good = self._kept.good()
        given, problems = None, [{"path": "", "message": "no configuration was given"}]
        if text is not None:
            try:
                given = parse(revision, text)
                problems = self._problems(given)
            except NoDocument as error:
                problems = [{"path": "", "message": str(error)}]
        if given is not None and not problems and not self._kept.barred(given):
            chosen = given
        elif good is not None and not self._problems(good):
            chosen = good
            why = problems or [{"path": "", "message": ENDED_EARLY}]
            self._attempt = _attempt(given, "commit", "reverted", why) if given is not None else None
            log.warning("the last good configuration is used: %s", _said(why))
        elif given is not None and not problems:
            chosen = given  # there is nothing better
        else:
            chosen = parse(revision, "{}")
            if text is not None:
                log.error("the configuration cannot be used: %s", _said(problems))
        self._used, self._began = InUse(chosen, self._seen(chosen.values)), dict(chosen.values)
        self._good = good.name if good is not None else None
        self._kept.use(chosen)

    def tick(self) -> None:
        """Now and then: what has been used for long enough without harm is the last good one."""
        document = self._used.document
        self._kept.use(document)
        with self._pins_lock:
            long_ago = time.monotonic() - IDLE_SECONDS
            while self._pins and next(iter(self._pins.values()))[1] < long_ago:
                self._pins.popitem(last=False)
        if (self._good or {}).get("hash") != document.hash and document.text != "{}" and self._kept.settled(document):
            self._kept.prove(document)
            self._good = document.name

    # --- changes -------------------------------------------------------------------------------------------------------------------

    def prepare(self, document: Document) -> list[Problem]:
        """What speaks against it; nothing is changed."""
        with self._lock:
            problems = self._problems(document)
            self._prepared = None if problems else document
            self._attempt = _attempt(document, "prepare", "rejected" if problems else "prepared", problems)
            return problems

    def abort(self) -> None:
        with self._lock:
            self._prepared = None

    def commit(self, document: Document) -> list[Problem]:
        """Use it from now on; problems mean that the old one is still used. Not to be called on the agent's event loop."""
        with self._lock:
            self._prepared = None
            if document.hash == self._used.document.hash:
                self._used = InUse(document, self._used.seen)
                self._attempt = _attempt(document, "commit", self._outcome(document), [])
                return []
            if self._kept.barred(document):
                problems = [{"path": "", "message": ENDED_EARLY}]
                self._attempt = _attempt(document, "commit", "reverted", problems)
                return problems
            problems = self._problems(document)
            if not problems:
                self._kept.try_out(document)
                self._kept.use(document)  # from here on, an exit counts against it
                problems = self._swap(document)
            self._attempt = _attempt(document, "commit", "failed" if problems else self._outcome(document), problems)
            return problems

    def state(self) -> dict[str, Any]:
        """What is reported of it."""
        used = self._used.document
        return {
            "applied": used.name if used.revision or used.text != "{}" else None,
            "prepared": self._prepared.name if self._prepared is not None else None,
            "last_good": self._good,
            "last_attempt": self._attempt,
            "pending": [{"path": path, "scope": scope} for path, scope in self._pending(used).items()],
        }

    def _swap(self, document: Document) -> list[Problem]:
        before, seen = self._used, self._seen(document.values)
        try:
            self._run(seen, before.seen)
        except Exception as error:  # noqa: BLE001 (whatever the agent's code raises means that it could not)
            self._kept.use(before.document)
            return problems_of(error)
        with self._pins_lock:
            self._used = InUse(document, seen)
        return []

    def _run(self, new: Any, old: Any) -> None:
        if not self._applies:
            return
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(_apply_all(self._applies, new, old), self._loop).result(2 * APPLY_SECONDS)
        else:
            asyncio.run(_apply_all(self._applies, new, old))

    def _problems(self, document: Document) -> list[Problem]:
        try:
            seen = self._seen(document.values)
            for check in self._checks:
                check(seen, self._used.seen)
        except Exception as error:  # noqa: BLE001 (a model's own errors, or those of the agent's checks)
            return problems_of(error)
        return []

    def _seen(self, values: Mapping[str, Any]) -> Any:
        return over(self._defaults, values) if self._model is None else self._model.model_validate(dict(values))

    def _pending(self, document: Document) -> dict[str, str]:
        return {key: scope for key, scope in document.apply.items() if self._waits(document, key, scope)}

    def _waits(self, document: Document, key: str, scope: str) -> bool:
        value = at(document.values, key)
        if scope == "restart":
            return bool(value != at(self._began, key))
        with self._pins_lock:
            return scope == "next-conversation" and any(at(pin.document.values, key) != value for pin, _ in self._pins.values())

    def _outcome(self, document: Document) -> str:
        scopes = set(self._pending(document).values())
        return "pending_restart" if "restart" in scopes else "pending_conversation" if scopes else "applied"


def _attempt(document: Document, phase: str, result: str, problems: list[Problem]) -> dict[str, Any]:
    return {**document.name, "phase": phase, "result": result, "errors": problems, "at": datetime.now(UTC).isoformat()}


async def _apply_all(functions: list[Apply], new: Any, old: Any) -> None:
    """One after another; when one refuses, those before it are given the old configuration back."""
    done: list[Apply] = []
    try:
        async with asyncio.timeout(APPLY_SECONDS):
            for function in functions:
                await _called(function, new, old)
                done.append(function)
    except Exception:
        for function in reversed(done):
            try:
                await _called(function, old, new)
            except Exception as error:  # noqa: BLE001 (the first failure is the one to tell)
                log.warning("a part of the agent could not go back: %s", _said(problems_of(error)))
        raise


async def _called(function: Apply, new: Any, old: Any) -> None:
    outcome = function(new, old)
    if inspect.isawaitable(outcome):
        await outcome


def problems_of(error: Exception) -> list[Problem]:
    """What to tell of it, never a value, which may be a secret: of a pydantic error every place and what is wrong there, of an error that
    nobody meant for an operator its kind and where it came from.
    """
    if isinstance(error, ConfigRejected):
        return [{"path": error.path, "message": error.message}]
    errors = getattr(error, "errors", None)
    if callable(errors):
        found = errors(include_url=False, include_context=False, include_input=False)
        return [{"path": ".".join(map(str, each["loc"])), "message": str(each["msg"])} for each in found]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return [{"path": "", "message": f"the agent's own code raised {type(error).__name__}{where}"}]


def _said(problems: list[Problem]) -> str:
    return "; ".join(f"{p['path']}: {p['message']}" if p["path"] else p["message"] for p in problems)


def at(values: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, `ABSENT` where there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part, ABSENT) if isinstance(found, Mapping) else ABSENT
    return found


def put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        below = values.get(part)
        if not isinstance(below, dict):
            below = values[part] = {}
        values = below
    if value is ABSENT:
        values.pop(last, None)
    else:
        values[last] = value
