"""Secrets at rest: sealed with keys from the setting `secrets_key`, else from `secrets.key` in the data directory. `bootstrap` makes one.

A key is 32 random bytes in base64; several stand one after the other. The first seals, all of them open, so that a key can be replaced:
put the new one in front, start the server (which seals everything anew), take the old one out. What really encrypts and what makes
fingerprints are keys derived from it.
"""

import base64
import binascii
import hmac
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent_servicing.core.errors import PermanentError

KEY_FILE: Final = "secrets.key"
VARIABLE: Final = "SERVICING_SECRETS_KEY"
KEY_BYTES: Final = 32
KEYS_MAX: Final = 10
FINGERPRINT_CHARACTERS: Final = 8
"""Enough to see whether a value is the same as before; without the key it says nothing about it."""

OWNER_ONLY: Final = 0o600
_HOW = "make one with: head -c 32 /dev/urandom | base64"


class Vault:
    """Implements `Cipher`. Keys are read when first needed; trouble with them is raised then, each time, and never ends the server."""

    def __init__(self, *, data_dir: Path, given: str | None = None) -> None:
        self._path = data_dir / KEY_FILE
        self._given = given
        self._keys: _Keys | None = None

    def begin(self) -> None:
        """Make the key file unless there is a key. Raises `PermanentError`."""
        if self._given is not None or self._path.exists():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _make(self._path, Fernet.generate_key().decode() + "\n")
        except OSError as error:
            raise PermanentError(f"the key for secrets cannot be written: {error}") from error

    def seal(self, label: str, value: str) -> bytes:
        return self._known().fernet.encrypt(f"{label}\n{value}".encode())

    def open(self, label: str, sealed: bytes) -> str:
        """Raises `PermanentError` when no key opens it, or when it was sealed under another label."""
        try:
            found, _, value = self._known().fernet.decrypt(sealed).decode().partition("\n")
        except InvalidToken:
            where = VARIABLE if self._given is not None else str(self._path)
            raise PermanentError(
                f"the key for secrets does not open {label}: it was sealed with another key; put that one back into {where}, behind the new "
                "one if there is a new one, and start the server again"
            ) from None
        if found != label:
            raise PermanentError(f"what the database holds as {label} is another secret; it was put there from outside")
        return value

    def seal_anew(self, label: str, sealed: bytes) -> bytes | None:
        """Sealed with the first key; None when it is already. Raises `PermanentError` like `open`."""
        with suppress(InvalidToken):
            self._known().newest.decrypt(sealed)
            return None
        return self.seal(label, self.open(label, sealed))

    def fingerprint(self, name: str, value: str) -> str:
        message = f"{name}\n{value}".encode()
        return hmac.new(self._known().fingerprint, message, sha256).hexdigest()[:FINGERPRINT_CHARACTERS]

    def _known(self) -> "_Keys":
        if self._keys is None:
            text, where = (self._given, VARIABLE) if self._given is not None else (_read(self._path), str(self._path))
            self._keys = _Keys(_parsed(text, where))
        return self._keys


class _Keys:
    """What is derived from the keys, the first of which seals."""

    def __init__(self, keys: list[bytes]) -> None:
        fernets = [Fernet(base64.urlsafe_b64encode(_derived(key, b"agent-servicing secrets: seal"))) for key in keys]
        self.newest = fernets[0]
        self.fernet = MultiFernet(fernets)
        self.fingerprint = _derived(keys[0], b"agent-servicing secrets: fingerprint")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise PermanentError(
                f"{path} can be read by others (mode {mode:o}): make it yours alone with chmod 600, and consider a new key"
            )
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        message = f"the key for secrets is gone: put {path} back from a backup, or set {VARIABLE} to the key that sealed them"
        raise PermanentError(message) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"the key for secrets cannot be read from {path}: {error}") from error


def _parsed(text: str, where: str) -> list[bytes]:
    words = text.replace(",", " ").split()
    if not 0 < len(words) <= KEYS_MAX:
        raise PermanentError(f"{where} must hold 1 to {KEYS_MAX} keys, each 32 bytes in base64; {_HOW}")
    return [_key(word, where) for word in words]


def _key(word: str, where: str) -> bytes:
    """Both alphabets of base64 are fine. The message never repeats what was given."""
    try:
        key = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise PermanentError(f"{where} holds something that is no key: each must be {KEY_BYTES} bytes in base64; {_HOW}")
    return key


def _make(path: Path, text: str) -> None:
    """Written aside and linked into place: never half there, never over one that another process just made."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
