"""Encryption at rest: the key file, keys from outside, replacing a key, and what is said when the key is not the right one."""

import base64
import stat
from pathlib import Path

import pytest

from agent_servicing.adapters.vault import Vault
from agent_servicing.core.errors import PermanentError


def key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


def test_a_key_is_made_at_first_need_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    vault = Vault(data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    vault.begin()
    sealed = vault.seal("db@1", "hunter2")
    assert stat.S_IMODE((tmp_path / "secrets.key").stat().st_mode) == 0o600
    later = Vault(data_dir=tmp_path)
    later.begin()
    assert later.open("db@1", sealed) == "hunter2"
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.key"]


def test_what_is_sealed_shows_neither_value_nor_name_and_is_never_the_same_twice(tmp_path: Path) -> None:
    vault = Vault(data_dir=tmp_path, given=key("a"))
    first, second = vault.seal("db@1", "hunter2"), vault.seal("db@1", "hunter2")
    assert first != second
    for sealed in (first, second, base64.urlsafe_b64decode(first)):
        assert b"hunter2" not in sealed
        assert b"db" not in base64.urlsafe_b64decode(first)


def test_a_key_file_that_others_can_read_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    vault = Vault(data_dir=tmp_path)
    vault.begin()
    (tmp_path / "secrets.key").chmod(0o644)
    with pytest.raises(PermanentError, match=r"secrets\.key can be read by others \(mode 644\): .*chmod 600"):
        vault.seal("db@1", "hunter2")
    (tmp_path / "secrets.key").chmod(0o600)
    assert vault.open("db@1", vault.seal("db@1", "hunter2")) == "hunter2"


def test_a_key_that_is_gone_is_not_replaced_in_silence(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"is gone: put .*secrets\.key back from a backup, or set SERVICING_SECRETS_KEY"):
        Vault(data_dir=tmp_path).open("db@1", b"")
    assert list(tmp_path.iterdir()) == []


def test_another_key_opens_nothing_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    sealed = Vault(data_dir=tmp_path, given=key("a")).seal("db@1", "hunter2")
    with pytest.raises(
        PermanentError, match="does not open db@1: it was sealed with another key; put that one back into SERVICING_SECRETS_KEY"
    ):
        Vault(data_dir=tmp_path, given=key("b")).open("db@1", sealed)


def test_a_new_key_in_front_seals_anew_and_then_the_old_one_can_go(tmp_path: Path) -> None:
    old, new = Vault(data_dir=tmp_path, given=key("a")), Vault(data_dir=tmp_path, given=key("b"))
    both = Vault(data_dir=tmp_path, given=f"{key('b')} {key('a')}")
    anew = both.seal_anew("db@1", old.seal("db@1", "hunter2"))
    assert anew is not None
    assert new.open("db@1", anew) == "hunter2"
    assert both.seal_anew("db@1", anew) is None


def test_a_sealed_value_cannot_be_passed_off_as_another_secret(tmp_path: Path) -> None:
    vault = Vault(data_dir=tmp_path, given=key("a"))
    with pytest.raises(PermanentError, match="what the database holds as admin@1 is another secret"):
        vault.open("admin@1", vault.seal("guest@1", "hunter2"))


@pytest.mark.parametrize("given", ["", "too-short", "nonsense !", key("a")[:-4], f"{key('a')},ümlaut"])
def test_something_that_is_no_key_is_refused_without_being_repeated(tmp_path: Path, given: str) -> None:
    with pytest.raises(PermanentError, match="32 bytes in base64") as raised:
        Vault(data_dir=tmp_path, given=given).seal("db@1", "hunter2")
    assert all(word not in str(raised.value) for word in given.split() if len(word) > 3)


def test_a_fingerprint_is_the_same_for_the_same_value_under_the_same_name_and_key_only(tmp_path: Path) -> None:
    one, other = Vault(data_dir=tmp_path, given=key("a")), Vault(data_dir=tmp_path, given=key("b"))
    shown = one.fingerprint("db", "hunter2")
    assert len(shown) == 8
    assert one.fingerprint("db", "hunter2") == shown
    assert len({shown, one.fingerprint("db", "hunter3"), one.fingerprint("mail", "hunter2"), other.fingerprint("db", "hunter2")}) == 4
