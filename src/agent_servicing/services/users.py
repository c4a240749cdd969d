"""People: who they are, what they may, their passwords. Called by `web`; `sign_in` looks them up here too."""

import hmac
import json
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core import passwords as rules
from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound, Unknown
from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.access import Passwords
from agent_servicing.services.access import ADMIN_NAME, Role
from agent_servicing.services.admin_token import SETUP_FILE, drop_file, kept_token, read_file
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store import access as table
from agent_servicing.store.access import UserRow
from agent_servicing.store.database import Database
from agent_servicing.store.notifications import mark_all

NAME_CHARACTERS_MAX: Final = 100
USERS_MAX: Final = 10_000
GRANTS_MAX: Final = 200
AGENT: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")

NAME_RULE: Final = f"1 to {NAME_CHARACTERS_MAX} printable characters without / or blanks at the ends, and neither {ADMIN_NAME} nor {SYSTEM}"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person without the password. `agents` None means that `role` holds for all; `grants` give another role for one agent each."""

    user_id: str
    name: str
    role: Role
    agents: frozenset[str] | None
    grants: Mapping[str, Role]
    has_password: bool
    external: bool
    created_at: datetime
    signed_in_at: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a user may."""

    role: Role
    agents: Collection[str] | None = None
    grants: Mapping[str, Role] | None = None

    @property
    def rules_all(self) -> bool:
        """Whether this is somebody who can mend everything."""
        return self.role is Role.ADMIN and self.agents is None

    def columns(self) -> dict[str, object]:
        grants = {agent: role.value for agent, role in sorted((self.grants or {}).items())}
        agents = None if self.agents is None else json.dumps(sorted(self.agents))
        return {"role": self.role.value, "agents": agents, "grants": json.dumps(grants)}

    def told(self) -> dict[str, object]:
        """For the audit."""
        grants = {agent: role.value for agent, role in sorted((self.grants or {}).items())}
        return {"role": self.role.value, "agents": None if self.agents is None else sorted(self.agents), "grants": grants}


class Users:
    """A user is named by id or by name; the letters' case of a name does not count."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, passwords: Passwords) -> None:
        self._database, self._clock, self._ids, self._settings, self._passwords = database, clock, ids, settings, passwords

    async def ensure_setup_token(self) -> str | None:
        """While there is no user: the token in `setup.token` of the data directory, with which the first one is made. None afterwards."""
        if await self.any():
            await to_thread.run_sync(drop_file, self._settings.data_dir, SETUP_FILE)
            return None
        return await to_thread.run_sync(kept_token, self._settings.data_dir, self._ids.token(), SETUP_FILE)

    async def any(self) -> bool:
        async with self._database.read() as connection:
            return await table.user_count(connection) > 0

    async def set_up(self, setup_token: str, name: str, password: str) -> User:
        """The first user, an admin. Raises Unknown `bad_setup_token`, Conflict `set_up_already`, Invalid like `create`."""
        kept = await to_thread.run_sync(read_file, self._settings.data_dir, SETUP_FILE)
        if await self.any():
            hint = "Sign in, or ask an admin for an account."
            raise Conflict("There are users already; setting up is over.", hint=hint, code="set_up_already")
        if kept is None or not hmac.compare_digest(kept.encode(), setup_token.encode()):
            hint = "It stands in setup.token in the server's data directory."
            raise Unknown("This is not the set-up token.", hint=hint, code="bad_setup_token")
        user = await self.create(name, Rights(role=Role.ADMIN), password=password, actor=name, first=True)
        await to_thread.run_sync(drop_file, self._settings.data_dir, SETUP_FILE)
        return user

    async def create(self, name: str, rights: Rights, *, password: str | None = None, actor: str, first: bool = False) -> User:
        """A user; without a password they come in by a link or by OIDC. `first`: only while there is no other.

        Raises Invalid `bad_name`, `bad_password`, `bad_grants`; Conflict `user_exists`, `too_many_users`, `set_up_already`.
        """
        name = checked_name(name)
        check_rights(rights)
        hashed = await self._hashed(password, name) if password is not None else None
        async with self._database.write() as connection:
            row = await self._insert(connection, name, rights, hashed=hashed, actor=actor, first=first)
        await to_thread.run_sync(drop_file, self._settings.data_dir, SETUP_FILE)
        return shown_user(row)

    async def from_outside(self, connection: AsyncConnection, identity: str, name: str, rights: Rights) -> UserRow:
        """Whom the OIDC provider knows as `identity`, made or brought up to what the provider says of them."""
        row = await table.user_by_identity(connection, identity)
        if row is None:
            name = checked_name(name)
            return await self._insert(connection, name, rights, hashed=None, identity=identity, actor=SYSTEM)
        before = rights_of(row)
        if before.told() | {"grants": None} != rights.told() | {"grants": None}:
            kept = Rights(role=rights.role, agents=rights.agents, grants=before.grants)
            await self._change(connection, row, kept, actor=SYSTEM)
        return await self._row(connection, row.user_id)

    async def list(self) -> Sequence[User]:
        """All, by name, disabled ones too."""
        async with self._database.read() as connection:
            return [shown_user(row) for row in await table.user_rows(connection)]

    async def get(self, user: str) -> User:
        """Raises NotFound `unknown_user`."""
        async with self._database.read() as connection:
            return shown_user(await self._row(connection, user))

    async def change(self, user: str, rights: Rights, *, actor: str) -> User:
        """From the next request on they may that. Raises NotFound, Invalid `bad_grants`, Conflict `last_admin`."""
        check_rights(rights)
        async with self._database.write() as connection:
            row = await self._row(connection, user)
            if not rights.rules_all:
                await _keep_an_admin(connection, row)
            await self._change(connection, row, rights, actor=actor)
            return shown_user(await self._row(connection, row.user_id))

    async def disable(self, user: str, *, actor: str) -> User:
        """They are signed out everywhere and cannot sign in. Raises NotFound, Conflict `last_admin`."""
        async with self._database.write() as connection:
            row = await self._row(connection, user)
            await _keep_an_admin(connection, row)
            if row.disabled_at is None:
                await table.change_user(connection, row.user_id, disabled_at=self._clock.now())
                ended = await table.delete_sessions_and_links_of(connection, row.user_id)
                await self._tell(connection, "user_disabled", row, actor, sessions_ended=ended)
            return shown_user(await self._row(connection, row.user_id))

    async def enable(self, user: str, *, actor: str) -> User:
        async with self._database.write() as connection:
            row = await self._row(connection, user)
            if row.disabled_at is not None:
                await table.change_user(connection, row.user_id, disabled_at=None)
                await self._tell(connection, "user_enabled", row, actor)
            return shown_user(await self._row(connection, row.user_id))

    async def set_password(self, user: str, password: str, *, actor: str) -> User:
        """They are signed out everywhere. Raises NotFound, Invalid `bad_password`."""
        found = await self.get(user)
        hashed = await self._hashed(password, found.name)
        async with self._database.write() as connection:
            row = await self._row(connection, found.user_id)
            await table.change_user(connection, row.user_id, password=hashed, password_set_at=self._clock.now())
            ended = await table.delete_sessions_and_links_of(connection, row.user_id)
            await self._tell(connection, "user_password_changed", row, actor, sessions_ended=ended, by_themselves=actor == row.name)
            return shown_user(await self._row(connection, row.user_id))

    async def _hashed(self, password: str, name: str) -> str:
        password = rules.normalised(password)
        wrong = rules.problem(password, name=name)
        if wrong is not None:
            raise Invalid(f"The password {wrong}.", errors=(FieldError(path="password", message=wrong),), code="bad_password")
        return await self._passwords.hash(password)

    async def _insert(
        self,
        connection: AsyncConnection,
        name: str,
        rights: Rights,
        *,
        hashed: str | None,
        identity: str | None = None,
        actor: str,
        first: bool = False,
    ) -> UserRow:
        now, count = self._clock.now(), await table.user_count(connection)
        if first and count:
            raise Conflict("There are users already; setting up is over.", hint="Sign in.", code="set_up_already")
        if count >= USERS_MAX:
            raise Conflict(f"There are {USERS_MAX} users already.", code="too_many_users")
        if await table.user_by_name(connection, folded(name)) is not None or await table.live_token_named(connection, name, now):
            hint = "Names tell people and tokens apart in the audit trail; choose another."
            raise Conflict(f"There is a user or token {name} already.", hint=hint, code="user_exists")
        row = UserRow(
            user_id=self._ids.new("usr"),
            name=name,
            folded=folded(name),
            password=hashed,
            identity=identity,
            created_at=now,
            password_set_at=now if hashed else None,
            **rights.columns(),  # type: ignore[arg-type]
        )
        await table.insert_user(connection, row)
        await mark_all(connection, name)  # what was told before they came is history
        await self._tell(connection, "user_created", row, actor, **rights.told(), external=identity is not None)
        return row

    async def _change(self, connection: AsyncConnection, row: UserRow, rights: Rights, *, actor: str) -> None:
        await table.change_user(connection, row.user_id, **rights.columns())
        await self._tell(connection, "user_changed", row, actor, before=rights_of(row).told(), after=rights.told())

    async def _row(self, connection: AsyncConnection, user: str) -> UserRow:
        row = await table.user_by_id(connection, user) or await table.user_by_name(connection, folded(user))
        if row is None:
            raise NotFound(f"There is no user {user}.", hint="GET /api/platform/users lists them.", code="unknown_user")
        return row

    async def _tell(self, connection: AsyncConnection, kind: str, row: UserRow, actor: str, **data: object) -> None:
        told = {"user_id": row.user_id, "user": row.name, **data, "status": "success"}
        await record(connection, self._ids, self._settings, Event(type=kind, at=self._clock.now(), actor=actor, audit=True, data=told))


def folded(name: str) -> str:
    """A name as it is compared."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def checked_name(name: str) -> str:
    """Raises Invalid `bad_name`."""
    name = unicodedata.normalize("NFKC", name).strip()
    usable = 0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable() and "/" not in name
    if not usable or name.casefold() in (ADMIN_NAME, SYSTEM):
        raise Invalid(f"A user's name is {NAME_RULE}.", errors=(FieldError(path="name", message=NAME_RULE),), code="bad_name")
    return name


def check_rights(rights: Rights) -> None:
    """Raises Invalid `bad_grants`."""
    named = [*(rights.agents or ()), *(rights.grants or ())]
    wrong = [agent for agent in named if not AGENT.fullmatch(agent)]
    if wrong or len(named) > GRANTS_MAX:
        allowed = f"at most {GRANTS_MAX} agents, each a letter, then letters, digits or hyphens"
        raise Invalid(f"Agents and grants name {allowed}.", errors=(FieldError(path="grants", message=allowed),), code="bad_grants")


def rights_of(row: UserRow) -> Rights:
    grants = {agent: Role(role) for agent, role in json.loads(row.grants).items()}
    return Rights(role=Role(row.role), agents=frozenset(json.loads(row.agents)) if row.agents is not None else None, grants=grants)


def shown_user(row: UserRow) -> User:
    rights = rights_of(row)
    return User(
        user_id=row.user_id,
        name=row.name,
        role=rights.role,
        agents=frozenset(rights.agents) if rights.agents is not None else None,
        grants=rights.grants or {},
        has_password=row.password is not None,
        external=row.identity is not None,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        disabled_at=row.disabled_at,
    )


async def _keep_an_admin(connection: AsyncConnection, row: UserRow) -> None:
    """Whoever is no admin any more must not have been the last one."""
    if not rights_of(row).rules_all or row.disabled_at is not None:
        return
    others = [each for each in await table.user_rows(connection) if each.user_id != row.user_id and each.disabled_at is None]
    if not any(rights_of(each).rules_all for each in others):
        hint = "Make somebody else an admin first."
        raise Conflict(f"{row.name} is the last admin.", hint=hint, code="last_admin")
