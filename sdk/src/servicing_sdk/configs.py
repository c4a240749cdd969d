"""The configuration in use, and how it changes: asked (prepare), then swapped (commit). Whoever reads it has the old one or the new one."""

import asyncio
import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from servicing_sdk.documents import Document, NoDocument, parse
from servicing_sdk.kept import Kept

CONVERSATIONS_MAX = 10_000
"""Conversations whose values are held; the longest unused ones begin anew."""

APPLY_SECONDS = 10.0
"""How long the agent's own code may take over a change."""

log = logging.getLogger("servicing_sdk")

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
    """`model` is a pydantic model, or None: the agent's code then sees a plain dictionary."""

    def __init__(self, *, model: Any, kept: Kept) -> None:
        self._model, self._kept = model, kept
        self._lock = threading.RLock()
        self._checks: list[Check] = []
        self._applies: list[Apply] = []
        self._pins: OrderedDict[str, InUse] = OrderedDict()
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
        with self._lock:
            used = self._used
            later = [key for key, scope in used.document.apply.items() if scope == "next-conversation"]
            pin = self._pins.setdefault(conversation, used)
            self._pins.move_to_end(conversation)
            while len(self._pins) > CONVERSATIONS_MAX:
                self._pins.popitem(last=False)
        kept = {key: pin.document.values[key] for key in later if key in pin.document.values}
        if all(used.document.values.get(key) == value for key, value in kept.items()):
            return used.seen
        return self._seen({**used.document.values, **kept})

    def forget(self, conversation: str) -> None:
        with self._lock:
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
            why = problems or [{"path": "", "message": "instances ended right after it was committed"}]
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
                self._attempt = _attempt(document, "commit", "applied", [])
                return []
            problems = self._problems(document)
            if not problems:
                self._kept.try_out(document)
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
        except ConfigRejected as error:
            return [{"path": error.path, "message": error.message}]
        except Exception as error:  # noqa: BLE001 (whatever the agent's code raises means that it could not)
            return [{"path": "", "message": f"the agent could not apply it: {type(error).__name__}: {str(error)[:300]}"}]
        self._used = InUse(document, seen)
        self._kept.use(document)
        return []

    def _run(self, new: Any, old: Any) -> None:
        async def apply_all() -> None:
            for function in self._applies:
                outcome = function(new, old)
                if inspect.isawaitable(outcome):
                    await outcome

        if not self._applies:
            return
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(apply_all(), self._loop).result(APPLY_SECONDS)
        else:
            asyncio.run(apply_all())

    def _problems(self, document: Document) -> list[Problem]:
        try:
            seen = self._seen(document.values)
            for check in self._checks:
                check(seen, self._used.seen)
        except ConfigRejected as error:
            return [{"path": error.path, "message": error.message}]
        except Exception as error:  # noqa: BLE001 (a model's own errors, or those of the agent's checks)
            return _model_problems(error)
        return []

    def _seen(self, values: Mapping[str, Any]) -> Any:
        return dict(values) if self._model is None else self._model.model_validate(dict(values))

    def _pending(self, document: Document) -> dict[str, str]:
        return {key: scope for key, scope in document.apply.items() if self._waits(document, key, scope)}

    def _waits(self, document: Document, key: str, scope: str) -> bool:
        value = _at(document.values, key)
        if scope == "restart":
            return bool(value != _at(self._began, key))
        return scope == "next-conversation" and any(_at(pin.document.values, key) != value for pin in list(self._pins.values()))

    def _outcome(self, document: Document) -> str:
        scopes = set(self._pending(document).values())
        return "pending_restart" if "restart" in scopes else "pending_conversation" if scopes else "applied"


def _attempt(document: Document, phase: str, result: str, problems: list[Problem]) -> dict[str, Any]:
    return {**document.name, "phase": phase, "result": result, "errors": problems, "at": datetime.now(UTC).isoformat()}


def _model_problems(error: Exception) -> list[Problem]:
    """Of a pydantic error every place and what is wrong there, never the value: it may be a secret."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        found = errors(include_url=False, include_context=False, include_input=False)
        return [{"path": ".".join(map(str, each["loc"])), "message": str(each["msg"])} for each in found]
    return [{"path": "", "message": f"{type(error).__name__}: {str(error)[:300]}"}]


def _said(problems: list[Problem]) -> str:
    return "; ".join(f"{p['path']}: {p['message']}" if p["path"] else p["message"] for p in problems)


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
