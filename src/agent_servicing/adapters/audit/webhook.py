"""A webhook: batches of entries as signed JSON."""

import hashlib
import hmac
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx

from agent_servicing.adapters.audit.forms import FORMS, line
from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.errors import TemporaryError
from agent_servicing.ports import Clock

TIMEOUT_SECONDS: Final = 15.0
SIGNATURE: Final = "X-Servicing-Signature"
TIMESTAMP: Final = "X-Servicing-Timestamp"


class WebhookSink:
    """POSTs `{"entries": [...]}`; every 2xx is taken for received. Redirects are not followed: a signed body goes where it was meant to."""

    def __init__(self, *, name: str, url: str, form: str, secret: bytes | None, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.name, self.form = name, form
        self.target = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        self._url, self._secret, self._clock, self._tls = url, secret, clock, tls

    async def deliver(self, entries: Sequence[StoredEvent]) -> None:
        body = line({"entries": [FORMS[self.form](entry) for entry in entries]}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "agent-servicing", "Idempotency-Key": entries[-1].event_id}
        if self._secret is not None:
            at = str(int(self._clock.now().timestamp()))
            headers |= {TIMESTAMP: at, SIGNATURE: f"sha256={signature(self._secret, at, body)}"}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=self._tls or True, follow_redirects=False) as client:
                answer = await client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise TemporaryError(f"{self.target} cannot be reached: {str(error) or type(error).__name__}", retry_after_seconds=5) from error
        if not answer.is_success:
            raise TemporaryError(f"{self.target} answered {answer.status_code}", retry_after_seconds=5)


def signature(secret: bytes, at: str, body: bytes) -> str:
    """HMAC-SHA256 in hexadecimal over the timestamp, a point and the body: an old request cannot be sent again as a new one."""
    return hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
