"""Secrets: taken in, listed without their values, removed, and handed to whoever fills in an instance's configuration.

Called by `web` and the configuration service; implements `ports.Secrets` for the channel to instances. A value is seen by the cipher, the
redactor and the instance it is for, by nobody else: events, answers and errors carry the name and a fingerprint.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

import structlog
from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.config.references import reference
from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound, PermanentError, TemporaryError, Unavailable
from agent_servicing.core.events import Event
from agent_servicing.ports import Cipher, Clock, Ids
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.transaction import record, shown
from agent_servicing.settings import Settings
from agent_servicing.store import issues, outbox, queries
from agent_servicing.store import secrets as table
from agent_servicing.store.database import Database
from agent_servicing.store.secrets import SecretRow, SecretUse

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
NAME_RULE: Final = "a letter or digit, then at most 127 letters, digits, dots, underscores, slashes or hyphens"

VALUE_BYTES_MAX: Final = 64 * 1024
"""Room for a key with its chain of certificates."""

VERSIONS_KEPT: Final = 20
"""Of one secret; older ones go unless a configuration needs them."""

SECRETS_MAX: Final = 10_000
"""Versions of all secrets together, removed ones included. All live ones are held in memory, to be masked."""

RETRY_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class SecretsLocked(Unavailable, TemporaryError):
    """The key is missing, unreadable or another one. For services it is an `Unavailable`, for the engine a `TemporaryError`."""

    code = "secrets_locked"

    def __init__(self, problem: str) -> None:
        super().__init__("Secrets cannot be used: " + problem, hint="docs/guides/secrets.md tells how to put a key back or to replace it.")
        self.retry_after_seconds = RETRY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVersion:
    version: int
    fingerprint: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """A secret without its value. `agent` None: all agents may be given it. `versions` are newest first, never empty."""

    name: str
    agent: str | None
    versions: tuple[SecretVersion, ...]
    used_by: tuple[SecretUse, ...] = ()

    @property
    def newest(self) -> SecretVersion:
        return self.versions[0]


class Secrets:
    """Values are at most 64 KiB of text; a name belongs to one agent or to all of them for good."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, cipher: Cipher, redactor: Redactor) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._cipher, self._redactor = cipher, redactor

    async def load(self) -> str | None:
        """Once, at the start: know what to mask, and seal anew what an older key sealed. Returns what is wrong with the key, if something is."""
        async with self._database.read() as connection:
            kept = [row for row in await table.secret_rows(connection) if row.removed_at is None]
        problem, anew = None, dict[int, bytes]()
        for row in kept:
            try:
                self._redactor.learn(row.label, name=row.name, agent=row.agent, value=self._open(row))
                sealed = self._cipher.seal_anew(row.label, row.sealed)
            except (SecretsLocked, PermanentError) as error:
                problem = problem or str(error)
            else:
                anew |= {row.number: sealed} if sealed is not None else {}
        if problem:
            log.error("secrets_locked", problem=problem)
        if anew:
            async with self._database.write() as connection:
                for number, sealed in anew.items():
                    await table.save_sealed(connection, number, sealed)
            log.info("secrets_sealed_anew", versions=len(anew))
        return problem

    async def set(self, name: str, value: str, *, agent: str | None = None, actor: str) -> SecretInfo:
        """Its newest version from now on; the same value again changes nothing. `agent` None: all agents may be given it. Like `find`.

        Raises Invalid `bad_secret_name`, `bad_secret_value`; Conflict `secret_owner`, `too_many_secrets`; SecretsLocked.
        """
        _check(name, value)
        async with self._database.read() as connection:
            first = await table.newest_kept(connection) is None
        if first:
            await to_thread.run_sync(self._begin)
        async with self._database.write() as connection:
            rows = await table.secret_rows(connection, [name])
            await self._check_owner(connection, name, rows, agent)
            kept = [row for row in rows if row.removed_at is None]
            if not kept or self._open(kept[0]) != value:
                await self._add(connection, name, value, agent, version=rows[0].version + 1 if rows else 1, actor=actor)
            return next(_infos(await table.secret_rows(connection, [name]), {}))

    async def keep(self, agent: str, key: str, value: str, *, actor: str) -> Mapping[str, object]:
        """A plain value that somebody gave for a key of the configuration that is secret; returns the reference to stand in its place."""
        info = await self.set(f"{agent}/{key}", value, agent=agent, actor=actor)
        return reference(info.name, info.newest.version)

    async def list(self) -> Sequence[SecretInfo]:
        """All that are not removed, by name."""
        async with self._database.read() as connection:
            rows, uses = await table.secret_rows(connection), await table.secret_uses(connection)
        return list(_infos(rows, uses))

    async def find(self, name: str) -> SecretInfo | None:
        """Without what uses it, which takes a look at every agent."""
        async with self._database.read() as connection:
            return next(_infos(await table.secret_rows(connection, [name]), {}), None)

    async def get(self, name: str) -> SecretInfo:
        """Raises NotFound `unknown_secret`."""
        async with self._database.read() as connection:
            found = next(_infos(await table.secret_rows(connection, [name]), await table.secret_uses(connection)), None)
        if found is None:
            raise _unknown(name)
        return found

    async def remove(self, name: str, *, actor: str) -> None:
        """All versions; their values are gone for good. Raises NotFound `unknown_secret`, Conflict `secret_in_use`."""
        async with self._database.write() as connection:
            kept = [row for row in await table.secret_rows(connection, [name]) if row.removed_at is None]
            if not kept:
                raise _unknown(name)
            uses = (await table.secret_uses(connection)).get(name, ())
            if uses:
                where = shown(sorted({f"{use.agent} ({use.revision})" for use in uses}))
                hint = "Take the reference out of those configurations first; those that a rollback would bring back count too."
                raise Conflict(f"{name} is needed by {where}.", hint=hint, code="secret_in_use")
            needed = {**await outbox.secrets_named(connection), **await issues.secret_named(connection)}.get(name)
            if needed is not None:
                raise Conflict(f"{name} is needed by {needed}.", hint="Change that first.", code="secret_in_use")
            now = self._clock.now()
            await table.empty_secret(connection, name, now)
            data = {"name": name, "version": kept[0].version, "fingerprint": kept[0].fingerprint, "status": "success"}
            event = Event(type="secret_removed", at=now, agent=kept[0].agent, actor=actor, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        for row in kept:
            self._redactor.forget(row.label)

    async def resolve(self, agent: str, references: Collection[str]) -> Mapping[str, str]:
        """Implements `ports.Secrets`; a reference without `@version` means the newest. Raises `PermanentError`, SecretsLocked.

        A secret of another agent is not told apart from one that does not exist.
        """
        if not references:
            return {}
        names = {one.partition("@")[0] for one in references}
        async with self._database.read() as connection:
            rows = await table.secret_rows(connection, names)
        allowed = [row for row in rows if row.removed_at is None and row.agent in (None, agent)]
        known = {row.name: row for row in reversed(allowed)} | {row.label: row for row in allowed}
        missing = sorted(one for one in references if one not in known)
        if missing:
            raise PermanentError(f"there is no secret {shown(missing)} for {agent}; set it with: servicing secret set NAME")
        return {one: self._open(known[one]) for one in references}

    async def note_undelivered(self, name: str, agent: str, *, actor: str, reason: str) -> None:
        """That an agent did not get the newest version, for the audit and for those who are told."""
        data = {"name": name, "status": "failed"}
        event = Event(type="secret_not_delivered", at=self._clock.now(), agent=agent, actor=actor, reason=reason, audit=True, data=data)
        async with self._database.write() as connection:
            await record(connection, self._ids, self._settings, event)

    async def note_applied(self, info: SecretInfo, outcomes: Mapping[str, str], *, actor: str, reason: str) -> None:
        """Who asked for it to be brought to whom, and how each agent stood then."""
        status = "failed" if "failed" in outcomes.values() else "success"
        data = {"name": info.name, "version": info.newest.version, "agents": dict(outcomes), "status": status}
        event = Event(type="secret_applied", at=self._clock.now(), actor=actor, reason=reason, audit=True, data=data)
        async with self._database.write() as connection:
            await record(connection, self._ids, self._settings, event)

    async def seal(self, label: str, value: str, *, beside: tuple[str, bytes] | None = None) -> bytes:
        """For what another service keeps by itself: sealed with the key of the secrets. `beside` is something it sealed before, which the key
        must open. Raises SecretsLocked.
        """
        async with self._database.read() as connection:
            newest = await table.newest_kept(connection)
        known = (newest.label, newest.sealed) if newest is not None else beside
        try:
            if known is None:
                await to_thread.run_sync(self._cipher.begin)
            else:
                self._cipher.open(*known)
            return self._cipher.seal(label, value)
        except PermanentError as error:
            raise SecretsLocked(str(error)) from error

    def unseal(self, label: str, sealed: bytes) -> str:
        """What `seal` sealed. Raises `PermanentError`."""
        return self._cipher.open(label, sealed)

    def sealed_anew(self, label: str, sealed: bytes) -> bytes | None:
        """With the newest key; None when it is already. Raises `PermanentError`."""
        return self._cipher.seal_anew(label, sealed)

    async def _check_owner(self, connection: AsyncConnection, name: str, rows: Sequence[SecretRow], agent: str | None) -> None:
        owner = rows[0].agent if rows else agent
        prefix, slash, _ = name.partition("/")
        if not rows and slash and prefix != agent and await queries.agent_row(connection, prefix) is not None:
            hint = f"Choose another name, or set it as the agent's own with agent {prefix}."
            raise Conflict(f"Names that begin with {prefix}/ are for secrets of {prefix}.", hint=hint, code="secret_owner")
        if owner != agent:
            whose = f"belongs to {owner}" if owner else "is for all agents"
            raise Conflict(f"The secret {name} {whose}.", hint="Choose another name.", code="secret_owner")
        if await table.secret_count(connection) >= SECRETS_MAX:
            raise Conflict(f"There are {SECRETS_MAX} versions of secrets already.", code="too_many_secrets")

    async def _add(self, connection: AsyncConnection, name: str, value: str, agent: str | None, *, version: int, actor: str) -> None:
        newest = await table.newest_kept(connection)
        if newest is not None:
            self._open(newest)  # two keys that know nothing of each other would leave half of the secrets unreadable
        now, label = self._clock.now(), f"{name}@{version}"
        try:
            sealed, fingerprint = self._cipher.seal(label, value), self._cipher.fingerprint(name, value)
        except PermanentError as error:
            raise SecretsLocked(str(error)) from error
        await table.insert_secret(connection, name, version, agent=agent, sealed=sealed, fingerprint=fingerprint, at=now, by=actor)
        await self._drop_old(connection, name)
        data = {"name": name, "version": version, "fingerprint": fingerprint, "status": "success"}
        await record(
            connection, self._ids, self._settings, Event(type="secret_set", at=now, agent=agent, actor=actor, audit=True, data=data)
        )
        self._redactor.learn(label, name=name, agent=agent, value=value)

    async def _drop_old(self, connection: AsyncConnection, name: str) -> None:
        rows = await table.secret_rows(connection, [name])
        if len(rows) > VERSIONS_KEPT:
            needed = {use.version for use in (await table.secret_uses(connection)).get(name, ())}
            await table.delete_versions(connection, [row.number for row in rows[VERSIONS_KEPT:] if row.version not in needed])

    def _begin(self) -> None:
        try:
            self._cipher.begin()
        except PermanentError as error:
            raise SecretsLocked(str(error)) from error

    def _open(self, row: SecretRow) -> str:
        try:
            return self._cipher.open(row.label, row.sealed)
        except PermanentError as error:
            raise SecretsLocked(str(error)) from error


def _infos(rows: Sequence[SecretRow], uses: Mapping[str, Sequence[SecretUse]]) -> Iterator[SecretInfo]:
    """`rows` by name, newest first."""
    for name, several in groupby((row for row in rows if row.removed_at is None), key=lambda row: row.name):
        kept = list(several)
        versions = [
            SecretVersion(version=r.version, fingerprint=r.fingerprint, created_at=r.created_at, created_by=r.created_by) for r in kept
        ]
        yield SecretInfo(name=name, agent=kept[0].agent, versions=tuple(versions), used_by=tuple(uses.get(name, ())))


def _check(name: str, value: str) -> None:
    """Neither message repeats the value."""
    if not NAME.fullmatch(name):
        raise Invalid(f"A secret's name is {NAME_RULE}.", errors=(FieldError(path="name", message=NAME_RULE),), code="bad_secret_name")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= VALUE_BYTES_MAX:
        allowed = f"must be 1 byte to {VALUE_BYTES_MAX // 1024} KiB of text"
        raise Invalid(f"A secret {allowed}.", errors=(FieldError(path="value", message=allowed),), code="bad_secret_value")


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no secret {name}.", hint="GET /api/platform/secrets lists them.", code="unknown_secret")
