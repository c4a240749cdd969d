"""Browsers that are signed in. `sign_in` opens sessions here; `web` asks for each request whose it is."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import NotFound
from agent_servicing.core.events import Event
from agent_servicing.ports import Clock, Ids
from agent_servicing.services.access import TOKEN_CHARACTERS_MAX, Principal, Role
from agent_servicing.services.transaction import record
from agent_servicing.services.users import rights_of
from agent_servicing.settings import Settings
from agent_servicing.store import access as table
from agent_servicing.store.access import Holder, SessionRow, TokenRow, UserRow
from agent_servicing.store.database import Database
from agent_servicing.store.remembered import Remembered

SESSIONS_MAX: Final = 20
"""Browsers of one person; signing in with one more ends the oldest."""

CLIENT_CHARACTERS_MAX: Final = 200
"""What is kept of a browser's own description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """From where somebody signs in; `secret` is the session that this browser has already."""

    address: str
    client: str = ""
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A new session; `secret` is what the browser keeps, and nobody else."""

    secret: str
    principal: Principal
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session without its secret. `method`: password, link, setup or oidc."""

    session_id: str
    method: str
    address: str
    client: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


class Sessions:
    """A session ends when it is not used for `session_idle_seconds`, in any case after `session_seconds`, and with the rights of its holder."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._seen: dict[str, datetime] = {}
        self._held = Remembered[tuple[SessionRow, Holder]](database)

    async def open(self, connection: AsyncConnection, holder: Holder, method: str, visitor: Visitor) -> Opened:
        """A session with a new secret; the one that the browser had ends, whoever's it was. The caller has proved to be `holder`."""
        now, secret = self._clock.now(), self._ids.token()
        if visitor.secret:
            old = await table.session_by_digest(connection, _digest(visitor.secret))
            if old is not None:
                await table.delete_sessions(connection, [old.session_id])
        user_id, token_id = (holder.user_id, None) if isinstance(holder, UserRow) else (None, holder.token_id)
        others = await table.sessions_of(connection, user_id=user_id, token_id=token_id)
        await table.delete_sessions(connection, [each.session_id for each in others[SESSIONS_MAX - 1 :]])
        row = SessionRow(
            session_id=self._ids.new("ses"),
            digest=_digest(secret),
            user_id=user_id,
            token_id=token_id,
            method=method,
            address=visitor.address[:100],
            client=_printable(visitor.client),
            created_at=now,
            seen_at=now,
            expires_at=now + timedelta(seconds=self._settings.session_seconds),
        )
        await table.insert_session(connection, row)
        if user_id is not None:
            await table.change_user(connection, user_id, signed_in_at=now)
        data: dict[str, object] = {"method": method, "address": row.address, "session_id": row.session_id, "status": "success"}
        await self.tell(connection, "signed_in", holder.name, data)
        return Opened(secret=secret, principal=_principal(row, holder), expires_at=row.expires_at)

    async def authenticate(self, secret: str) -> Principal | None:
        """Whose session this is; None when it is unknown or over, or its holder may not sign in any more."""
        if not 0 < len(secret) <= TOKEN_CHARACTERS_MAX:
            return None
        now = self._clock.now()
        found = await self._held.get(_digest(secret), _with_holder)
        if found is None:
            return None
        row, holder = found
        if not self._lasts(row, now) or not entitled(holder, now):
            return None
        self._seen[row.session_id] = now
        return _principal(row, holder)

    async def of(self, principal: Principal) -> Sequence[SessionInfo]:
        """All of the same person, newest first; none for who is not signed in."""
        now = self._clock.now()
        async with self._database.read() as connection:
            rows = [row for row in await self._of(connection, principal) if self._lasts(row, now)]
        return [self._info(row) for row in rows]

    async def end(self, principal: Principal, session_id: str) -> None:
        """One of one's own. Raises NotFound `unknown_session`."""
        async with self._database.write() as connection:
            if session_id not in {row.session_id for row in await self._of(connection, principal)}:
                raise NotFound(f"You have no session {session_id}.", hint="GET /api/platform/sessions lists them.", code="unknown_session")
            await table.delete_sessions(connection, [session_id])
            await self.tell(connection, "signed_out", principal.name, {"session_id": session_id, "status": "success"})

    async def flush(self) -> None:
        """Write down when sessions were used, and drop what is over."""
        seen, self._seen = self._seen, {}
        now = self._clock.now()
        async with self._database.write(durable=False) as connection:
            await table.save_seen(connection, seen)
            await table.delete_ended(connection, now, idle_since=now - self._idle)

    async def tell(self, connection: AsyncConnection, kind: str, actor: str, data: dict[str, object]) -> None:
        await record(connection, self._ids, self._settings, Event(type=kind, at=self._clock.now(), actor=actor, audit=True, data=data))

    @property
    def _idle(self) -> timedelta:
        return timedelta(seconds=self._settings.session_idle_seconds)

    def _lasts(self, row: SessionRow, now: datetime) -> bool:
        return now < row.expires_at and now - self._seen.get(row.session_id, row.seen_at) < self._idle

    def _info(self, row: SessionRow) -> SessionInfo:
        return SessionInfo(
            session_id=row.session_id,
            method=row.method,
            address=row.address,
            client=row.client,
            created_at=row.created_at,
            seen_at=self._seen.get(row.session_id, row.seen_at),
            expires_at=row.expires_at,
        )

    async def _of(self, connection: AsyncConnection, principal: Principal) -> Sequence[SessionRow]:
        """A session with a token's rights has only itself for company: whoever else uses the token is somebody else."""
        if principal.session_id is None:
            return []
        if principal.user_id is not None:
            return await table.sessions_of(connection, user_id=principal.user_id, token_id=None)
        own = await table.session_by_id(connection, principal.session_id)
        return [own] if own is not None else []


def csrf_token(secret: str) -> str:
    """What a page of ours sends along to show that it is one: it can be read with the session only, and tells nothing about its secret."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def entitled(holder: Holder, now: datetime) -> bool:
    """Whether they may sign in, and stay signed in."""
    if isinstance(holder, UserRow):
        return holder.disabled_at is None
    return holder.revoked_at is None and (holder.expires_at is None or holder.expires_at > now)


def _principal(row: SessionRow, holder: Holder) -> Principal:
    own = f"session:{row.session_id}"
    if isinstance(holder, TokenRow):
        agents = frozenset(json.loads(holder.agents)) if holder.agents is not None else None
        return Principal(name=holder.name, role=Role(holder.role), agents=agents, token_id=own, session_id=row.session_id)
    rights = rights_of(holder)
    return Principal(
        name=holder.name,
        role=rights.role,
        agents=frozenset(rights.agents) if rights.agents is not None else None,
        grants=rights.grants or {},
        token_id=own,
        user_id=holder.user_id,
        session_id=row.session_id,
    )


async def _with_holder(connection: AsyncConnection, digest: str) -> tuple[SessionRow, Holder] | None:
    row = await table.session_by_digest(connection, digest)
    holder = await _holder(connection, row) if row is not None else None
    return (row, holder) if row is not None and holder is not None else None


async def _holder(connection: AsyncConnection, row: SessionRow) -> Holder | None:
    if row.user_id is not None:
        return await table.user_by_id(connection, row.user_id)
    return await table.token_by_id(connection, row.token_id or "")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:CLIENT_CHARACTERS_MAX]
