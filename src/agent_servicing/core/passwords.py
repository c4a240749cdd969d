"""Which passwords are taken: `problem` says what is wrong with one. Length counts, not kinds of characters. Pure."""

import unicodedata
from typing import Final

CHARACTERS_MIN: Final = 12
CHARACTERS_MAX: Final = 512
"""Room for a long sentence; every character costs time."""

DIFFERENT_MIN: Final = 5
"""Fewer different characters are a key held down."""

COMMON: Final = frozenset(
    {
        "abc",
        "abcd",
        "abcdef",
        "abcdefghijkl",
        "admin",
        "administrator",
        "agent",
        "agentservicing",
        "asdf",
        "asdfgh",
        "asdfghjkl",
        "changeme",
        "changemenow",
        "correcthorsebatterystaple",
        "default",
        "dragon",
        "football",
        "guest",
        "hello",
        "iloveyou",
        "letmein",
        "login",
        "master",
        "monkey",
        "operator",
        "pass",
        "passphrase",
        "password",
        "princess",
        "qaz",
        "qazwsx",
        "qazwsxedc",
        "qwer",
        "qwert",
        "qwerty",
        "qwertyuiop",
        "qwertz",
        "root",
        "secret",
        "server",
        "servicing",
        "summer",
        "sunshine",
        "superman",
        "test",
        "topsecret",
        "trustno",
        "user",
        "viewer",
        "welcome",
        "winter",
        "zxcvbn",
        "zxcvbnm",
    }
)
"""What is tried first, without digits and signs; repetitions and joins of these are common too."""

_LOOKALIKES: Final = str.maketrans({"0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "l"})
_SEQUENCES: Final = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)


def normalised(password: str) -> str:
    """The same password whichever way a keyboard composed its characters."""
    return unicodedata.normalize("NFKC", password)


def problem(password: str, *, name: str) -> str | None:
    """What is wrong with it, to stand after "the password"; None for one that is taken. `name` is its owner's."""
    if len(password) < CHARACTERS_MIN:
        return f"must have at least {CHARACTERS_MIN} characters; several words are easy to remember"
    if len(password) > CHARACTERS_MAX:
        return f"must have at most {CHARACTERS_MAX} characters"
    if len(set(password)) < DIFFERENT_MIN:
        return f"must have at least {DIFFERENT_MIN} different characters"
    folded = password.casefold()
    if _names(folded, name.casefold()):
        return "must not be made of the name"
    if any(folded in sequence or folded in sequence[::-1] for sequence in _SEQUENCES) or _common(folded):
        return "is one of those that are tried first"
    return None


def _names(password: str, name: str) -> bool:
    """The name, its part before the @, or repetitions of either, with anything but letters around."""
    parts = {_letters(part) for part in (name, name.partition("@")[0])} - {""}
    return any(_joined(_letters(password), frozenset({part})) for part in parts if len(part) > 2)


def _common(password: str) -> bool:
    return any(
        _joined(_letters(form), COMMON)
        for form in (password, password.translate(_LOOKALIKES), password.strip("0123456789!").translate(_LOOKALIKES))
    )


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalpha())


def _joined(text: str, words: frozenset[str]) -> bool:
    """Whether the text is nothing but such words, one after the other; no letters at all are no word."""
    reached = {0}
    for end in range(1, len(text) + 1):
        if any(start in reached and text[start:end] in words for start in range(end)):
            reached.add(end)
    return bool(text) and len(text) in reached
