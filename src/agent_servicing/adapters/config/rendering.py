"""From a document to the text of a configuration file and back from a text's digest to the document. Every part of the channel asks here.

Instances see and acknowledge digests of texts, with secrets filled in; the engine knows documents by a key that no secret is part of.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from agent_servicing.core.config.layers import SECRET, ConfigDocument, is_secret, text_of
from agent_servicing.core.config.report import Problem
from agent_servicing.core.errors import PermanentError
from agent_servicing.ports import Clock, Secrets

DOCUMENTS_MAX: Final = 8_192
"""Documents whose digest is remembered, over all agents; about 300 bytes each. Of older ones an instance has a document we do not know."""

TEXTS_MAX: Final = 64
"""Texts that are kept at once, as many with secrets in them as without: one document goes out to many instances."""

TEXT_KEPT_SECONDS: Final = 5.0
"""How long a text with secrets is kept, so that they need not be deciphered for each instance."""

PROBLEMS_MAX: Final = 50
PROBLEM_CHARACTERS_MAX: Final = 500

MASK: Final = "•••"

MASKED_FROM_CHARACTERS: Final = 4
"""A shorter secret is not looked for: it would be found in every other word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A text as one instance gets it, `quoted` as a JSON string. Neither it nor the secrets in it appear where this is printed or logged."""

    text: str = field(repr=False)
    digest: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    quoted: str = field(default="", repr=False)


def _rendered(text: str, secrets: Sequence[str] = ()) -> Rendered:
    return Rendered(text=text, digest=digest_of(text), secrets=tuple(secrets), quoted=json.dumps(text, ensure_ascii=False))


class Renderer:
    """`secrets` None: this server has none, and documents that refer to one cannot be rendered."""

    def __init__(self, *, clock: Clock, secrets: Secrets | None) -> None:
        self._clock, self.secrets = clock, secrets
        self._texts: OrderedDict[tuple[str, str], tuple[float, Rendered]] = OrderedDict()
        self._plain: OrderedDict[str, Rendered] = OrderedDict()
        self._digests: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def rendered(self, agent: str, document: ConfigDocument) -> Rendered:
        """Raises `PermanentError` naming secrets that do not exist, `TemporaryError` when they cannot be read now."""
        key = document.key
        rendered = self._plain.get(key)
        if rendered is None:
            references = sorted(set(_references(document.values)))
            rendered = await self._with_secrets(agent, document, key, references) if references else self._without_secrets(document, key)
        self._digests[agent, key] = rendered.digest
        self._digests.move_to_end((agent, key))
        _bound(self._digests, DOCUMENTS_MAX)
        self._note(agent, document.revision, key, rendered.digest)
        return rendered

    async def digest(self, agent: str, document: ConfigDocument) -> str:
        """Like `rendered`, without reading secrets again once it is known."""
        key = document.key
        known = self._digests.get((agent, key))
        if known is None:
            return (await self.rendered(agent, document)).digest
        self._note(agent, document.revision, key, known)
        return known

    def key_of(self, agent: str, digest: str, revision: str | None = None) -> str:
        """The key of the document with this text, as this revision brought it if that is known; "" for a text that we never sent."""
        exact = self._keys.get((agent, digest, revision)) if revision is not None else None
        return exact or self._keys.get((agent, digest, ""), "")

    def purge(self) -> None:
        """Drop texts with secrets that have been kept long enough."""
        oldest = self._clock.monotonic() - TEXT_KEPT_SECONDS
        for name in [name for name, (at, _) in self._texts.items() if at <= oldest]:
            del self._texts[name]

    def _without_secrets(self, document: ConfigDocument, key: str) -> Rendered:
        rendered = self._plain[key] = _rendered(text_of(document.values))
        _bound(self._plain, TEXTS_MAX)
        return rendered

    async def _with_secrets(self, agent: str, document: ConfigDocument, key: str, references: Sequence[str]) -> Rendered:
        self.purge()
        kept = self._texts.get((agent, key))
        if kept is not None:
            return kept[1]
        if self.secrets is None:
            raise PermanentError(f"the configuration of {agent} refers to secrets, and this server has none: {', '.join(references)}")
        found = await self.secrets.resolve(agent, references)
        text = text_of({name: _filled(value, found) for name, value in document.values.items()})
        masked = sorted({v for v in found.values() if len(v) >= MASKED_FROM_CHARACTERS}, key=len, reverse=True)
        rendered = _rendered(text, masked)
        self._texts[agent, key] = (self._clock.monotonic(), rendered)
        _bound(self._texts, TEXTS_MAX)
        return rendered

    def _note(self, agent: str, revision: str, key: str, digest: str) -> None:
        # Documents that differ only in what acts on the runtime have the same text: the revision tells them apart.
        for name in (revision, ""):
            self._keys[agent, digest, name] = key
            self._keys.move_to_end((agent, digest, name))
        _bound(self._keys, 2 * DOCUMENTS_MAX)


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def cleaned(problems: Sequence[Problem], secrets: Sequence[str]) -> tuple[Problem, ...]:
    """What an agent has against a document, fit to be kept and shown: bounded, on one line each, and without any of these secrets."""
    return tuple(Problem(path=_clean(p.path, secrets), message=_clean(p.message, secrets)) for p in problems[:PROBLEMS_MAX])


def _clean(text: str, secrets: Sequence[str]) -> str:
    # Cut only after masking: half a secret would not be found.
    for secret in secrets:
        text = text.replace(secret, MASK)
    return "".join(c if c.isprintable() else " " for c in text)[:PROBLEM_CHARACTERS_MAX].strip()


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if is_secret(value):
            yield _reference(value)
        else:
            for inner in value.values():
                yield from _references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _references(inner)


def _reference(value: Mapping[str, object]) -> str:
    version = value.get("version")
    return str(value[SECRET]) if version is None else f"{value[SECRET]}@{version}"


def _filled(value: object, found: Mapping[str, str]) -> object:
    if isinstance(value, Mapping):
        if is_secret(value):
            return found[_reference(value)]
        return {key: _filled(inner, found) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, found) for inner in value]
    return value


def _bound(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
