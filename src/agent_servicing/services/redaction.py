"""Takes the values of secrets out of texts: what agents print and say on its way in, our own log on its way out.

`Secrets` tells it what there is; the engine, the fleet's logs and the server's log ask it. The values stay in this process's memory for
that, and nowhere else in the clear.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus

MASKABLE_CHARACTERS: Final = 4
"""Shorter values are not looked for: they stand in every text by chance."""

LINE_CHARACTERS: Final = 8
"""Of a value of several lines each line this long is looked for by itself, because logs are read line by line."""

CUT_CHARACTERS_MAX: Final = 4_096
"""How much of a value may be missing at the edge of a text that was cut there."""

CUT_LINE_CHARACTERS: Final = 200
"""A line this long may have been cut, so its own edges are looked at too; a text's edges always are."""

_PLACES: Final = range(0xE000, 0xF8FF)
"""Private characters that stand for a found value until all are found, so that the mask of one is not searched for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    name: str
    agent: str | None
    forms: tuple[str, ...]


class Redactor:
    """Implements `ports.Masker`. An agent's texts are searched for its own secrets and for those all may have, not for other agents': what
    is masked would tell somebody who can make an agent print guesses which of them is right.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._searched: dict[str | None, _Searched] = {}

    def learn(self, label: str, *, name: str, agent: str | None, value: str) -> None:
        """From now on it is masked; `label` is what `forget` is told."""
        self._known[label] = _Known(name=name, agent=agent, forms=tuple(_forms(value)))
        self._searched = {}

    def forget(self, label: str) -> None:
        self._known.pop(label, None)
        self._searched = {}

    def mask(self, agent: str, text: str) -> str:
        """`text` without the values this agent can be given, as they are or as JSON, URLs and base64 write them."""
        return self._for(agent).mask(text)

    def mask_all(self, text: str) -> str:
        """`text` without any secret at all: for what the server itself says."""
        return self._for(None).mask(text)

    def _for(self, agent: str | None) -> "_Searched":
        """Made once and kept until something is learned or forgotten; a thread that masks meanwhile goes on with the one it has."""
        searched = self._searched  # and into this one, not into the next, which must not begin with what is old
        found = searched.get(agent)
        if found is None:
            found = _Searched([known for known in list(self._known.values()) if agent is None or known.agent in (None, agent)])
            searched[agent] = found
        return found


class _Searched:
    """The forms of some secrets, ready to be searched for."""

    def __init__(self, known: list[_Known]) -> None:
        names = sorted({one.name for one in known})
        places = {name: chr(_PLACES[number % len(_PLACES)]) for number, name in enumerate(names)}
        self._shown = {ord(place): f"[secret {name}]" for name, place in places.items()}
        pairs = {form: places[one.name] for one in known for form in one.forms}
        # Longest first: a value that holds another is replaced whole.
        self._pairs = sorted(pairs.items(), key=lambda pair: (-len(pair[0]), pair[0]))
        self._all_forms = "\n".join(pairs)

    def mask(self, text: str) -> str:
        found = text
        for form, place in self._pairs:
            found = found.replace(form, place)
        lines = found.split("\n") if self._pairs else []
        for number, line in enumerate(lines):
            if number in (0, len(lines) - 1) or len(line) >= CUT_LINE_CHARACTERS:
                lines[number] = self._without_cut_edges(line)
        found = "\n".join(lines) if self._pairs else text
        return text if found == text else found.translate(self._shown)

    def _without_cut_edges(self, line: str) -> str:
        if line[:MASKABLE_CHARACTERS] in self._all_forms:  # seldom: looking once saves looking into each
            for form, place in self._pairs:
                line = _without_cut_start(line, form, place)
        if line[-MASKABLE_CHARACTERS:] in self._all_forms:
            for form, place in self._pairs:
                line = _without_cut_end(line, form, place)
        return line


def _without_cut_start(text: str, form: str, place: str) -> str:
    """A text that was cut on the left may begin with the end of a secret."""
    head, at = text[:MASKABLE_CHARACTERS], 0
    while len(head) == MASKABLE_CHARACTERS and (at := form.find(head, at + 1, CUT_CHARACTERS_MAX)) > 0:
        if text.startswith(form[at:]):
            return place + text[len(form) - at :]
    return text


def _without_cut_end(text: str, form: str, place: str) -> str:
    """And one that was cut on the right may end with the beginning of one."""
    tail, end = text[-MASKABLE_CHARACTERS:], min(len(form), CUT_CHARACTERS_MAX) - 1
    while len(tail) == MASKABLE_CHARACTERS and (at := form.rfind(tail, 0, end)) >= 0:
        end = at + MASKABLE_CHARACTERS
        if text.endswith(form[:end]):
            return text[:-end] + place
        end -= 1
    return text


def _forms(value: str) -> Iterator[str]:
    """Every way in which texts write this value, long enough to be looked for. None holds a line break, so that lines stay lines."""
    lines = [line.strip() for line in value.splitlines()]
    whole = value.strip()
    plain = [whole] if len(lines) == 1 else [line for line in lines if len(line) >= LINE_CHARACTERS]
    escaped = [json.dumps(whole)[1:-1], json.dumps(whole, ensure_ascii=False)[1:-1], repr(whole)[1:-1]]
    escaped += [json.dumps(escaped[0])[1:-1], json.dumps(escaped[1], ensure_ascii=False)[1:-1]]  # JSON within JSON
    in_urls = [quote(whole), quote(whole, safe=""), quote_plus(whole)]
    for form in dict.fromkeys([*plain, *escaped, *in_urls, *_in_base64(whole)]):
        if len(form) >= MASKABLE_CHARACTERS and "\n" not in form:
            yield form


def _in_base64(value: str) -> Iterator[str]:
    """Also within something longer, such as `user:password`: what it becomes depends on its place modulo 3; its edges mix with neighbours."""
    raw = value.encode()
    for before in range(3):
        padded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        first = (0, 2, 3)[before]
        last = len(padded) - (1 if (before + len(raw)) % 3 else 0)
        inner = padded[first:last]
        if len(inner) >= 2 * MASKABLE_CHARACTERS:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
