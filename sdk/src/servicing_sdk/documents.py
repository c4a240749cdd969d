"""A configuration as it travels: its exact text, the hash of that text, and the values in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024


class NoDocument(Exception):
    """The text is no configuration: empty, cut short, or no JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """`apply` says when a key takes effect, for keys that are not hot: `next-conversation` or `restart`."""

    revision: str
    text: str
    values: Mapping[str, Any]
    apply: Mapping[str, str] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def name(self) -> dict[str, str]:
        """How it is spoken of."""
        return {"revision": self.revision, "hash": self.hash}


def parse(revision: str, text: str, apply: Mapping[str, str] | None = None, runtime: Mapping[str, Any] | None = None) -> Document:
    """Raises `NoDocument`."""
    if len(text) > DOCUMENT_BYTES_MAX:
        raise NoDocument("it is too large")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise NoDocument("it is no JSON") from None
    if not isinstance(values, dict):
        raise NoDocument("it is no JSON object")
    return Document(revision=revision, text=text, values=values, apply=apply or {}, runtime=runtime or {})


def received(message: Mapping[str, Any]) -> Document:
    """A document as the server sends it. Raises `NoDocument`, also when it is not what its hash says."""
    try:
        document = parse(message["revision"], message["document"], message.get("apply"), message.get("runtime"))
    except (KeyError, TypeError, AttributeError):
        raise NoDocument("it is incomplete") from None
    if message.get("hash", document.hash) != document.hash:
        raise NoDocument("it was damaged on the way")
    return document
