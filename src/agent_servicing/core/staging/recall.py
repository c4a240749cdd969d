"""Whether an answer has what a golden request expects of it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

SHOWN_CHARS: Final = 120
DEPTH_MAX: Final = 32
"""Deepest nesting that is looked into; a manifest allows no deeper one."""


def mismatch(expected: object, found: object, where: str = "the answer", depth: int = 0) -> str:
    """The first difference in words, empty when there is none. Of an object only the expected keys are looked at; lists are as long as expected."""
    if depth > DEPTH_MAX:
        return f"{where} is nested too deeply"
    if isinstance(expected, Mapping):
        return _of_object(expected, found, where, depth + 1)
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        return _of_list(expected, found, where, depth + 1)
    if isinstance(expected, bool) is not isinstance(found, bool) or expected != found:
        return f"{where} is {shown(found)} instead of {shown(expected)}"
    return ""


def _of_object(expected: Mapping[object, object], found: object, where: str, depth: int) -> str:
    if not isinstance(found, Mapping):
        return f"{where} is {shown(found)} instead of an object"
    for key, value in expected.items():
        said = mismatch(value, found[key], f"{where}.{key}", depth) if key in found else f"{where} has no {key}"
        if said:
            return said
    return ""


def _of_list(expected: Sequence[object], found: object, where: str, depth: int) -> str:
    if not isinstance(found, Sequence) or isinstance(found, str):
        return f"{where} is {shown(found)} instead of a list"
    if len(expected) != len(found):
        return f"{where} has {len(found)} entries instead of {len(expected)}"
    said = (mismatch(one, other, f"{where}[{number}]", depth) for number, (one, other) in enumerate(zip(expected, found, strict=True)))
    return next(filter(None, said), "")


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
