"""Sends notifications through Apprise, which knows mail, chats, pagers and webhooks by the scheme of an address. Opened by `bootstrap`.

Apprise waits in its caller's thread, for as long as the other side likes. So each message has a thread of its own which is left behind after
`SEND_SECONDS`, at most one for each target, and which does not hold up the server's end. What Apprise says of a failure is passed on without
any part of the address.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import anyio
from anyio import from_thread, lowlevel, to_thread

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.notices import Severity
from agent_servicing.ports import Clock
from agent_servicing.ports.outward import Described, Letter

if TYPE_CHECKING:
    from apprise import Apprise, AppriseAsset, NotifyBase

SEND_SECONDS: Final = 20.0
"""Apprise itself waits 4 s for a connection and 4 s for each piece of an answer; a mail takes several."""

PROBLEM_CHARACTERS_MAX: Final = 300

ADDRESS_CHARACTERS_MAX: Final = 4_096

PART_CHARACTERS: Final = 4
"""Parts of an address from this length on are not repeated in what is said of it."""

LOCAL: Final = frozenset({"blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Schemes that reach nobody but the machine itself."""

_TOLD: Final = frozenset({"WARNING", "ERROR", "CRITICAL"})

_NO_SECRET: Final = re.compile(r"[0-9]{1,5}|yes|no|true|false|json|text|html|markdown", re.IGNORECASE)


class AppriseSender:
    """Implements `Sender`. Redirects are not followed unless the address says `redirect=yes`; nothing is kept on disk."""

    def __init__(self, *, clock: Clock, send_seconds: float = SEND_SECONDS) -> None:
        self._clock, self._send_seconds = clock, send_seconds
        self._busy: dict[str, float] = {}

    async def describe(self, address: str) -> Described:
        return await to_thread.run_sync(_describe, address)

    async def send(self, target: str, address: str, letter: Letter) -> None:
        since = self._busy.get(target)
        if since is not None:
            raise TemporaryError(f"it has been busy with the message before for {self._clock.monotonic() - since:.0f} s")
        self._busy[target] = self._clock.monotonic()
        outcome = _Outcome()
        threading.Thread(
            target=self._work, args=(target, address, letter, outcome, lowlevel.current_token()), name=f"notify {target}", daemon=True
        ).start()
        with anyio.move_on_after(self._send_seconds):
            await outcome.done.wait()
        if not outcome.done.is_set():
            raise TemporaryError(f"it did not take the message within {self._send_seconds:g} s")
        if outcome.error is not None:
            raise outcome.error

    def _work(self, target: str, address: str, letter: Letter, outcome: "_Outcome", token: lowlevel.EventLoopToken) -> None:
        try:
            problem = _send(address, letter)
            outcome.error = TemporaryError(problem) if problem else None
        except PermanentError as error:
            outcome.error = error
        except Exception as error:  # noqa: BLE001  (a plugin's own; its text may hold the address)
            outcome.error = TemporaryError(f"Apprise failed with {type(error).__name__}")
        finally:
            self._busy.pop(target, None)
            with suppress(anyio.RunFinishedError):  # the server ended meanwhile; it is sent again when it is back
                from_thread.run_sync(outcome.done.set, token=token)


class _Outcome:
    """What a thread hands back to the loop."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: TemporaryError | PermanentError | None = None


def _describe(address: str) -> Described:
    """As much as a plugin's template says is a host, and nothing else."""
    service = _service(address)
    scheme, _, _ = address.partition("://")
    where = "****"
    if _has_host(service):
        parts = urlsplit(address)
        where = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}/****"
    return Described(service=str(service.service_name), shown=f"{scheme.lower()}://{where}")


def _send(address: str, letter: Letter) -> str:
    """What went wrong, empty when nothing did."""
    from apprise import NotifyFormat, NotifyType  # noqa: PLC0415  half a second at import

    service = _service(address)
    kinds = {Severity.INFO: NotifyType.INFO, Severity.WARNING: NotifyType.WARNING}
    kind = NotifyType.SUCCESS if letter.good else kinds.get(letter.severity, NotifyType.FAILURE)
    sender = _apprise()
    sender.add(service)
    result = sender.notify(title=letter.title, body=letter.text, notify_type=kind, body_format=NotifyFormat.TEXT)
    if result:
        return ""
    said = [str(entry.message) for entry in result.logs() if entry.level in _TOLD]
    text = " ".join(" ".join(said).split()) or "Apprise says no more than that it failed"
    return _without_parts(text, address, keep_host=_has_host(service))[:PROBLEM_CHARACTERS_MAX]


def _service(address: str) -> "NotifyBase":
    """Raises `PermanentError`, in which no part of the address is repeated."""
    from apprise import Apprise  # noqa: PLC0415

    scheme, separator, rest = address.partition("://")
    if not separator or not rest or len(address) > ADDRESS_CHARACTERS_MAX or not address.isprintable():
        raise PermanentError("an address is an Apprise URL such as json://HOST/PATH or mailto://USER:PASSWORD@HOST")
    if scheme.lower() in LOCAL:
        raise PermanentError(f"{scheme.lower()}:// reaches nobody but the machine of the server")
    try:
        found = Apprise.instantiate(address, asset=_asset(), suppress_exceptions=True)
    except Exception:  # noqa: BLE001  (whatever a plugin does with an address that it does not like)
        found = None
    if found is None or not hasattr(found, "service_name") or (_has_host(found) and not _possible_port(address)):
        known = "is not one of Apprise's" if not re.fullmatch(r"[a-z0-9]{1,20}", scheme.lower()) else f"{scheme.lower()}://"
        raise PermanentError(f"Apprise cannot use this address ({known}): see its list of services for what belongs into one")
    return found


def _possible_port(address: str) -> bool:
    try:
        return urlsplit(address).port != 0
    except ValueError:
        return False


def _apprise() -> "Apprise":
    from apprise import Apprise  # noqa: PLC0415

    return Apprise(asset=_asset())


def _asset() -> "AppriseAsset":
    """No file is written, no key made, nobody redirected; and no thread of Apprise's own, which would outlive ours."""
    from apprise import AppriseAsset, PersistentStoreMode  # noqa: PLC0415

    logging.getLogger("apprise").propagate = False  # what it says is passed on without the address, or not at all
    return AppriseAsset(
        app_id="AgentServicing",
        app_desc="Agent Servicing",
        http_redirects=False,
        service_timeout=0,
        storage_mode=PersistentStoreMode.MEMORY,
        pgp_autogen=False,
        pem_autogen=False,
    )


def _has_host(service: "NotifyBase") -> bool:
    """Whether what stands in the host's place is one; in many addresses it is a token."""
    templates: tuple[str, ...] = service.templates
    return any("{host}" in template for template in templates)


def _without_parts(text: str, address: str, *, keep_host: bool) -> str:
    for part in sorted(_parts(address, keep_host=keep_host), key=len, reverse=True):
        text = text.replace(part, "****")
    return text


def _parts(address: str, *, keep_host: bool) -> Iterator[str]:
    """Everything in it that could be secret, as it is written and as it is meant."""
    rest = address.partition("://")[2]
    host = (urlsplit(address).hostname or "").lower()
    for raw in re.split(r"[/:@?&=#,+]", rest):
        for part in {raw, unquote(raw)}:
            shown = keep_host and part.lower() == host
            if len(part) >= PART_CHARACTERS and not shown and not _NO_SECRET.fullmatch(part):
                yield part
