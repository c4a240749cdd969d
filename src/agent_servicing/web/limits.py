"""Every limit of the HTTP and WebSocket side, with its reason. What a use case limits itself stands with the service and is only shown here."""

from typing import Final

MAX_BODY_BYTES: Final = 1024 * 1024
"""Largest request body. A manifest is some kilobytes; for what uploads files there is the setting `upload_max_mb` besides."""

BODY_SILENCE_SECONDS: Final = 20.0
"""A body that stops arriving for this long is given up; the server itself has no such limit."""

PAGE_DEFAULT: Final = 50
"""Entries of a list when the caller names no `limit`."""

PAGE_MAX: Final = 200
"""Most entries of one page; the rest comes with `cursor`."""

NAMES_MAX: Final = 10_000
"""Names of agents in one answer: some hundred kilobytes."""

NAME_CHARACTERS_MAX: Final = 200
"""Longest version, token name, strategy or cursor: far beyond any real one, small enough to log."""

IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
"""Longest `Idempotency-Key`."""

READINESS_TIMEOUT_SECONDS: Final = 2.0
"""A part that cannot say within this that it is alive is not ready."""

RETRY_AFTER_SECONDS: Final = 1
"""What 503 answers advise when the error names no time of its own."""

LIVE_CONNECTIONS_MAX: Final = 200
"""Open WebSockets; each polls the event log once a second."""

LIVE_SUBSCRIPTIONS_MAX: Final = 50
"""Subscriptions of one WebSocket."""

LIVE_MESSAGE_BYTES_MAX: Final = 4_096
"""Longest message a WebSocket client may send; the longest valid one is some hundred bytes."""

LIVE_BATCH: Final = 200
"""Events read from the log at once. Nothing is buffered beyond this: the log itself is the buffer."""

LIVE_POLL_SECONDS: Final = 1.0
"""How long a missed hint can delay an event."""

LIVE_SEND_TIMEOUT_SECONDS: Final = 20.0
"""A client that does not take one message within this is cut off; it resumes with `since`."""

LIVE_HEARTBEAT_SECONDS: Final = 15.0
"""A silent connection says this often that it is alive, and whether its token still is gets checked."""

LIVE_SNAPSHOT_ATTEMPTS: Final = 5
"""How often a snapshot is read again when events arrived meanwhile, before the older position is used."""

LINK_WAIT_SECONDS_MAX: Final = 60.0
"""Longest wait of one poll for a configuration; proxies on the way give up on longer ones."""

LINK_PROBLEMS_MAX: Final = 1_000
"""Reasons and pending keys that are read of one report; far fewer are kept."""

LINK_SEND_TIMEOUT_SECONDS: Final = 20.0
"""A subscriber that does not take one message within this is cut off; it connects anew and gets the whole state."""
