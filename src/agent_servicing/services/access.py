"""Who may do what: tokens, their roles, and the admin token in the data directory. Called by `web` for every request and by `bootstrap` once."""

import hashlib
import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from anyio import to_thread
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound
from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.ports import Clock, Ids, InstanceTokens
from agent_servicing.services.admin_token import kept_token
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store.access import save_used, user_by_name
from agent_servicing.store.database import Database
from agent_servicing.store.remembered import Remembered
from agent_servicing.store.tables import tokens

ADMIN_NAME: Final = "admin"
"""The name of the data directory's own token, and so the actor of whoever uses it."""

TOKEN_NAME_CHARACTERS_MAX: Final = 100
TOKEN_CHARACTERS_MAX: Final = 200
"""Ours have 43; longer ones are not looked up."""

TOKENS_MAX: Final = 10_000
"""Tokens ever made; revoked ones count, because the audit refers to them."""


class Role(StrEnum):
    """viewer reads, operator also acts, admin also manages access."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        """Whether this role may do what `needed` may."""
        order = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking. `role` holds for `agents`, None meaning all of them; `grants` are roles for one agent each.

    `instance` is set for a running instance, which may report on itself and nothing else; `session_id` for a signed-in browser, whose
    `token_id` is not a token's; `user_id` for a person.
    """

    name: str
    role: Role
    agents: frozenset[str] | None
    token_id: str
    instance: str | None = None
    grants: Mapping[str, Role] = field(default_factory=dict)
    user_id: str | None = None
    session_id: str | None = None

    @property
    def reach(self) -> frozenset[str] | None:
        """The agents that `sees` lets through, None meaning all of them: what lists are narrowed by."""
        return None if self.agents is None else self.agents | self.grants.keys()

    def sees(self, agent: str | None) -> bool:
        """Whether they reach that agent; what belongs to no agent is for those without a restriction."""
        return self.agents is None or (agent is not None and (agent in self.agents or agent in self.grants))

    def role_for(self, agent: str | None = None) -> Role:
        """The highest role they have there. Whether they reach it is `sees`."""
        granted = self.grants.get(agent) if agent is not None else None
        if granted is None:
            return self.role
        general = self.role if self.agents is None or agent in self.agents else Role.VIEWER
        return granted if granted.covers(general) else general

    def may(self, needed: Role, agent: str | None = None) -> bool:
        """Whether this principal has the role, for that agent where one is named."""
        return self.role_for(agent).covers(needed) and (agent is None or self.sees(agent))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A token without its secret."""

    token_id: str
    name: str
    role: Role
    agents: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class Access:
    """Tokens are secrets of 256 bits; only their SHA-256 is kept."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, instances: InstanceTokens | None = None) -> None:
        self._database, self._clock, self._ids, self._settings, self._instances = database, clock, ids, settings, instances
        self._used: dict[str, datetime] = {}
        self._rows = Remembered[Row[Any]](database)

    async def ensure_admin_token(self, data_dir: Path) -> str:
        """The token in `data_dir/admin.token` (mode 600), made and registered when missing.

        A token that was put there by hand is registered too: who can write the data directory owns the server.
        """
        token = await to_thread.run_sync(kept_token, data_dir, self._ids.token())
        async with self._database.write() as connection:
            live = tokens.c.revoked_at.is_(None)
            query = select(tokens.c.token_id).where(tokens.c.digest == _digest(token), live)
            if (await connection.execute(query)).first() is None:
                now = self._clock.now()
                await connection.execute(update(tokens).where(tokens.c.name == ADMIN_NAME, live).values(revoked_at=now))
                await self._insert(connection, token, ADMIN_NAME, Role.ADMIN, None, None, actor=SYSTEM)
        return token

    async def authenticate(self, token: str) -> Principal | None:
        """Who holds this token; None when unknown, expired or revoked."""
        if not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
            return None
        row = await self._rows.get(_digest(token), _by_digest)
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= self._clock.now()):
            return None
        self._used[row.token_id] = self._clock.now()
        return Principal(name=row.name, role=Role(row.role), agents=_agents(row), token_id=row.token_id)

    async def flush(self) -> None:
        """Write down when tokens were used: not at each request, which would cost every reader a write."""
        used, self._used = self._used, {}
        if used:
            async with self._database.write(durable=False) as connection:
                await save_used(connection, used)

    async def authenticate_instance(self, token: str) -> Principal | None:
        """The running instance that was given this token at its start, as a principal of its own agent; None for every other token.

        Only for the one route that instances may use: everywhere else such a token is unknown.
        """
        if self._instances is None or not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
            return None
        found = await self._instances.holder(token)
        if found is None:
            return None
        agent, process = found
        name = f"{agent}/{process.instance}"
        return Principal(name=name, role=Role.VIEWER, agents=frozenset({agent}), token_id=f"instance:{name}", instance=process.instance)

    async def create_token(
        self, name: str, role: Role, agents: Collection[str] | None = None, expires_at: datetime | None = None, *, actor: str
    ) -> str:
        """A new token, shown this once; only its hash is kept. Raises Conflict `token_exists` for a live token of the same name."""
        now = self._clock.now()
        name = _checked_name(name)
        if expires_at is not None and expires_at <= now:
            error = FieldError(path="expires_at", message="must be in the future")
            raise Invalid("The token would be expired already.", errors=(error,), code="expired")
        token = self._ids.token()
        async with self._database.write() as connection:
            held = (await connection.execute(select(tokens.c.name, tokens.c.expires_at, tokens.c.revoked_at))).all()
            if len(held) >= TOKENS_MAX:
                raise Conflict(f"There are {TOKENS_MAX} tokens already.", code="too_many_tokens")
            if any(row.name == name and row.revoked_at is None and (row.expires_at is None or row.expires_at > now) for row in held):
                raise Conflict(f"There is a token {name} already.", hint="Revoke it first, or choose another name.", code="token_exists")
            if await user_by_name(connection, unicodedata.normalize("NFKC", name).casefold()) is not None:
                hint = "Names tell people and tokens apart in the audit trail; choose another."
                raise Conflict(f"There is a user {name}.", hint=hint, code="token_exists")
            await self._insert(connection, token, name, role, agents, expires_at, actor=actor)
        return token

    async def list_tokens(self) -> Sequence[TokenInfo]:
        """All tokens, newest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(tokens).order_by(tokens.c.created_at.desc(), tokens.c.token_id.desc()))).all()
        return [
            TokenInfo(
                token_id=row.token_id,
                name=row.name,
                role=Role(row.role),
                agents=_agents(row),
                created_at=row.created_at,
                expires_at=row.expires_at,
                revoked_at=row.revoked_at,
                last_used_at=self._used.get(row.token_id, row.last_used_at),
            )
            for row in rows
        ]

    async def revoke_token(self, token_id: str, *, actor: str) -> None:
        """From now on it opens nothing. Raises NotFound `unknown_token`, Conflict `last_admin` for the data directory's own token."""
        async with self._database.write() as connection:
            row = (await connection.execute(select(tokens).where(tokens.c.token_id == token_id))).one_or_none()
            if row is None:
                raise NotFound(f"There is no token {token_id}.", code="unknown_token")
            if row.name == ADMIN_NAME:
                hint = "Delete admin.token in the data directory and start the server again to replace it."
                raise Conflict("The data directory's own token cannot be revoked from here.", hint=hint, code="last_admin")
            if row.revoked_at is None:
                now = self._clock.now()
                await connection.execute(update(tokens).where(tokens.c.token_id == token_id).values(revoked_at=now))
                data = {"token_id": token_id, "name": row.name, "role": row.role, "status": "success"}
                event = Event(type="token_revoked", at=now, actor=actor, audit=True, data=data)
                await record(connection, self._ids, self._settings, event)

    async def _insert(
        self,
        connection: AsyncConnection,
        token: str,
        name: str,
        role: Role,
        agents: Collection[str] | None,
        expires_at: datetime | None,
        *,
        actor: str,
    ) -> None:
        now, token_id = self._clock.now(), self._ids.new("tok")
        allowed = sorted(agents) if agents is not None else None
        await connection.execute(
            insert(tokens).values(
                token_id=token_id,
                name=name,
                role=role,
                agents=json.dumps(allowed) if allowed is not None else None,
                digest=_digest(token),
                created_at=now,
                expires_at=expires_at,
            )
        )
        data = {"token_id": token_id, "name": name, "role": role.value, "agents": allowed, "status": "success"}
        await record(connection, self._ids, self._settings, Event(type="token_created", at=now, actor=actor, audit=True, data=data))


async def _by_digest(connection: AsyncConnection, digest: str) -> Row[Any] | None:
    return (await connection.execute(select(tokens).where(tokens.c.digest == digest))).one_or_none()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _agents(row: Row[Any]) -> frozenset[str] | None:
    return frozenset(json.loads(row.agents)) if row.agents is not None else None


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= TOKEN_NAME_CHARACTERS_MAX or not name.isprintable() or name in (ADMIN_NAME, SYSTEM):
        allowed = f"1 to {TOKEN_NAME_CHARACTERS_MAX} printable characters, and neither {ADMIN_NAME} nor {SYSTEM}"
        raise Invalid(f"A token's name is {allowed}.", errors=(FieldError(path="name", message=allowed),), code="bad_name")
    return name
