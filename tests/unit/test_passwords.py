"""Which passwords are taken, and how they are kept."""

import pytest

from agent_servicing.adapters.passwords import Argon2Passwords
from agent_servicing.core.passwords import CHARACTERS_MAX, normalised, problem


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short1!A", "at least 12"),
        ("x" * (CHARACTERS_MAX + 1), "at most 512"),
        ("aaaaaaaaaaaaaaaa", "different"),
        ("121212121212", "different"),
        ("ada.lovelace1", "the name"),
        ("Ada-Lovelace-Ada-Lovelace", "the name"),
        ("passwordpassword", "tried first"),
        ("Password1234!", "tried first"),
        ("P@ssw0rd2026!", "tried first"),
        ("qwertyuiop123", "tried first"),
        ("123456789012", "tried first"),
        ("abcdefghijkl", "tried first"),
        ("changeme-admin", "tried first"),
        ("correct horse battery staple", "tried first"),
    ],
)
def test_a_password_that_is_guessed_soon_is_refused_with_the_reason(password: str, why: str) -> None:
    found = problem(password, name="ada.lovelace@example.org")
    assert found is not None
    assert why in found


@pytest.mark.parametrize(
    "password",
    ["four words nobody guesses", "Tr4-velling!salt", "пароль из четырёх слов", "918273645546372", "a mountain of password rules"],
)
def test_length_counts_and_not_kinds_of_characters(password: str) -> None:
    assert problem(password, name="ada") is None


def test_the_same_characters_typed_on_another_keyboard_are_the_same_password() -> None:
    assert normalised("schlüssel".replace("ü", "u\u0308")) == normalised("schlüssel")


@pytest.mark.anyio
async def test_what_is_kept_tells_the_password_to_nobody_and_knows_it_again() -> None:
    passwords = Argon2Passwords(time_cost=1, memory_kib=64, parallelism=1)
    kept = await passwords.hash("four words nobody guesses")
    assert kept.startswith("$argon2id$")
    assert "four" not in kept
    assert kept != await passwords.hash("four words nobody guesses")
    assert await passwords.matches(kept, "four words nobody guesses")
    assert not await passwords.matches(kept, "four words nobody guesses ")
    assert not await passwords.matches("not a hash", "four words nobody guesses")


@pytest.mark.anyio
async def test_who_has_no_password_cannot_have_one_guessed() -> None:
    passwords = Argon2Passwords(time_cost=1, memory_kib=64, parallelism=1)
    assert not await passwords.matches(None, "nobody has this one")


@pytest.mark.anyio
async def test_stronger_parameters_make_what_was_kept_before_outdated() -> None:
    weak, strong = Argon2Passwords(time_cost=1, memory_kib=64, parallelism=1), Argon2Passwords(time_cost=2, memory_kib=64, parallelism=1)
    kept = await weak.hash("four words nobody guesses")
    assert strong.outdated(kept)
    assert not weak.outdated(kept)
