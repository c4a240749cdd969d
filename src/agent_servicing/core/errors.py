"""Every error the product raises on purpose. `web` maps the families to HTTP, the CLI prints the sentence; nobody else interprets them.

A driver raises only `TemporaryError` (try again) or `PermanentError` (give up); services raise one of the families.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with the input: `path` is dotted (`run.instances`), `message` says what is allowed."""

    path: str
    message: str


class ServicingError(Exception):
    """Base of all: `code` is a stable slug, the message one sentence for people, `hint` what to do about it.

    The class gives the family's slug; `code=` on one error narrows it (`unknown_agent`). `details` are plain values for machines.
    """

    code: str = "servicing_error"

    def __init__(
        self, message: str, *, hint: str = "", errors: Sequence[FieldError] = (), code: str | None = None, **details: object
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.message = message
        self.hint = hint
        self.errors = tuple(errors)
        self.details = details


class NotFound(ServicingError):
    code = "not_found"


class Conflict(ServicingError):
    code = "conflict"


class Invalid(ServicingError):
    code = "invalid"


class Denied(ServicingError):
    code = "denied"


class Unavailable(ServicingError):
    code = "unavailable"


class Unknown(ServicingError):
    """Who asks could not prove who they are."""

    code = "unauthenticated"


class TooMany(ServicingError):
    """Asked too often; the detail `retry_after_seconds` says when it may be tried again."""

    code = "rate_limited"


class TemporaryError(Exception):
    """A driver could not do it now; the engine comes back after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(Exception):
    """A driver can never do this; whatever asked for it has failed."""
