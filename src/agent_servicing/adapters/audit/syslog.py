"""Syslog after RFC 5424: over UDP (5426) one message each, over TCP (6587, by octet counting) and TLS (5425) one connection for each batch.

Syslog knows no acknowledgement: what was handed to the network counts as delivered.
"""

import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from typing import Final

import anyio
from anyio.abc import ByteStream

from agent_servicing.adapters.audit.forms import FORMS, line
from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.errors import TemporaryError

PRIORITY: Final = 13 * 8 + 5
"""Facility 13 (log audit), severity 5 (notice)."""

DATAGRAM_BYTES_MAX: Final = 65_000
"""What fits into one UDP packet; the message is cut there, as RFC 5426 allows. TCP has no such limit."""

DELIVERY_SECONDS: Final = 15.0

CLOSING_SECONDS: Final = 5.0
"""How long the other side may take to read to the end and close. Closing first would throw away what it has not read; one that resets the
connection meanwhile may not have read it, and gets the batch again."""


class SyslogSink:
    """`transport` is udp, tcp or tls; `tls` whose certificates are believed."""

    def __init__(self, *, name: str, transport: str, host: str, port: int, form: str, tls: ssl.SSLContext | None = None) -> None:
        self.name, self.target, self.form = name, f"syslog+{transport}://{host}:{port}", form
        self._transport, self._host, self._port, self._tls = transport, host, port, tls

    async def deliver(self, entries: Sequence[StoredEvent]) -> None:
        messages = [message(entry, line(FORMS[self.form](entry))) for entry in entries]
        try:
            with anyio.fail_after(DELIVERY_SECONDS):
                await (self._datagrams(messages) if self._transport == "udp" else self._stream(messages))
        except TimeoutError as error:
            raise TemporaryError(f"{self.target} took nothing for {DELIVERY_SECONDS:g} s", retry_after_seconds=5) from error
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise TemporaryError(f"{self.target} cannot be reached: {str(error) or type(error).__name__}", retry_after_seconds=5) from error

    async def _datagrams(self, messages: list[bytes]) -> None:
        async with await anyio.create_connected_udp_socket(self._host, self._port) as link:
            for each in messages:
                await link.send(each[:DATAGRAM_BYTES_MAX])

    async def _stream(self, messages: list[bytes]) -> None:
        if self._tls is not None:
            secure = await anyio.connect_tcp(self._host, self._port, ssl_context=self._tls, tls_standard_compatible=False)
            async with secure:
                await _send(secure, messages)
                # Many close without saying so.
                with anyio.move_on_after(CLOSING_SECONDS), suppress(anyio.EndOfStream):
                    await secure.unwrap()
            return
        async with await anyio.connect_tcp(self._host, self._port) as plain:
            await _send(plain, messages)
            await plain.send_eof()
            with anyio.move_on_after(CLOSING_SECONDS), suppress(anyio.EndOfStream):
                while True:
                    await plain.receive()


async def _send(link: ByteStream, messages: list[bytes]) -> None:
    for each in messages:
        await link.send(b"%d %s" % (len(each), each))


def message(stored: StoredEvent, text: str) -> bytes:
    """The header of RFC 5424, no structured data, and the entry's JSON, which is ASCII."""
    at = stored.event.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    kind = "".join(character for character in stored.event.type if "!" <= character <= "~")[:32] or "-"
    host = "".join(character for character in socket.gethostname() if "!" <= character <= "~")[:255] or "-"
    return f"<{PRIORITY}>1 {at} {host} agent-servicing {os.getpid()} {kind} - {text}".encode()
