"""Sinks from the setting `audit_sinks`. Called by `bootstrap` at the start, where a wrong one is an error that says what is wrong."""

import hashlib
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from agent_servicing.adapters.audit.file import FileSink
from agent_servicing.adapters.audit.forms import FORMS
from agent_servicing.adapters.audit.syslog import SyslogSink
from agent_servicing.adapters.audit.webhook import WebhookSink
from agent_servicing.core.errors import PermanentError
from agent_servicing.ports import Clock
from agent_servicing.ports.audit import AuditSink

SINKS_MAX: Final = 10
"""Each reads the history for itself."""

PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
OPTIONS: Final = {
    "file": frozenset({"name", "format", "max_mb", "files"}),
    "syslog": frozenset({"name", "format", "ca_file"}),
    "webhook": frozenset({"name", "format", "secret_file", "ca_file"}),
}
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,60}")
_NUMBER_MAX: Final = 100_000


def open_sinks(urls: Sequence[str], clock: Clock) -> list[AuditSink]:
    """One for each URL. Raises PermanentError, in which a URL is named by its place in the setting: it may hold a password."""
    if len(urls) > SINKS_MAX:
        raise PermanentError(f"audit_sinks has {len(urls)} entries; at most {SINKS_MAX} are possible")
    found = [_open(url, f"audit_sinks[{number}]", clock) for number, url in enumerate(urls)]
    names = [sink.name for sink in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PermanentError(f"audit_sinks: two are called {twice}; give one another #name=")
    return found


def _open(url: str, where: str, clock: Clock) -> AuditSink:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise PermanentError(f"{where} is no URL") from None
    kind = "webhook" if parts.scheme in {"http", "https"} else parts.scheme.partition("+")[0]
    if kind not in OPTIONS:
        raise PermanentError(
            f"{where}: {parts.scheme or 'nothing'} is no kind of sink; allowed are file, syslog+udp, syslog+tcp, syslog+tls, http, https"
        )
    options = _options(parts, where, OPTIONS[kind])
    form = options.get("format", "servicing")
    if form not in FORMS:
        raise PermanentError(f"{where}: format is {' or '.join(FORMS)}, not {form}")
    bare = parts._replace(fragment="").geturl()
    name = options.get("name", f"{kind}-{hashlib.sha256(bare.encode()).hexdigest()[:8]}")
    if not _NAME.fullmatch(name):
        raise PermanentError(f"{where}: a name has letters, digits, points and dashes only, at most 60")
    if kind == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise PermanentError(f"{where}: a file is named by its whole path, such as file:///var/log/servicing/audit.jsonl")
        return FileSink(
            name=name,
            path=Path(parts.path),
            form=form,
            max_mb=_number(options, "max_mb", 100, where),
            files=_number(options, "files", 100, where),
        )
    if not parts.hostname:
        raise PermanentError(f"{where} names no host")
    if kind == "syslog":
        transport = parts.scheme.partition("+")[2] or "udp"
        if transport not in PORTS:
            raise PermanentError(f"{where}: syslog goes over {', '.join(PORTS)}, not {transport}")
        tls = _trust(options.get("ca_file"), where, used=transport == "tls")
        return SyslogSink(name=name, transport=transport, host=parts.hostname, port=port or PORTS[transport], form=form, tls=tls)
    tls = _trust(options.get("ca_file"), where, used=parts.scheme == "https")
    return WebhookSink(name=name, url=bare, form=form, secret=_secret(options.get("secret_file"), where), tls=tls, clock=clock)


def _options(parts: SplitResult, where: str, allowed: frozenset[str]) -> dict[str, str]:
    try:
        options = dict(parse_qsl(parts.fragment, strict_parsing=True)) if parts.fragment else {}
    except ValueError:
        raise PermanentError(f"{where}: what follows # is name=value, joined by &") from None
    unknown = sorted(options.keys() - allowed)
    if unknown:
        raise PermanentError(f"{where}: {', '.join(unknown)} is no option of it; allowed are {', '.join(sorted(allowed))}")
    return options


def _number(options: dict[str, str], name: str, default: int, where: str) -> int:
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _NUMBER_MAX):
        raise PermanentError(f"{where}: {name} is a number from 1 to {_NUMBER_MAX}")
    return int(text)


def _trust(path: str | None, where: str, *, used: bool) -> ssl.SSLContext | None:
    """Whose certificates are believed: those of the system, or of this file only. None without TLS."""
    if not used:
        if path is not None:
            raise PermanentError(f"{where}: ca_file is for TLS, which this URL does not ask for")
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # what is no certificate is one too
        raise PermanentError(f"{where}: ca_file {path} holds no certificates that can be read: {error.strerror or error}") from error


def _secret(path: str | None, where: str) -> bytes | None:
    if path is None:
        return None
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise PermanentError(f"{where}: secret_file {path} cannot be read: {error.strerror}") from error
    if not secret:
        raise PermanentError(f"{where}: secret_file {path} is empty")
    return secret
