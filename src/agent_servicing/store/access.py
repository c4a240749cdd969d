"""Rows of users, their sessions and sign-in links. Used by `services.users` and `services.sign_in`, inside their transactions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.store.tables import sessions, sign_in_links, tokens, users


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """`agents` and `grants` are JSON; `password` is a hash."""

    user_id: str
    name: str
    folded: str
    role: str
    agents: str | None
    grants: str
    password: str | None
    identity: str | None
    created_at: datetime
    password_set_at: datetime | None = None
    signed_in_at: datetime | None = None
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """What of a token counts for a session that has its rights."""

    token_id: str
    name: str
    role: str
    agents: str | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """Either `user_id` or `token_id` is set."""

    session_id: str
    digest: str
    user_id: str | None
    token_id: str | None
    method: str
    address: str
    client: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    digest: str
    user_id: str | None
    token_id: str | None
    created_at: datetime
    expires_at: datetime


Holder = UserRow | TokenRow
"""Whose session or link it is."""


async def user_rows(connection: AsyncConnection) -> Sequence[UserRow]:
    """By name."""
    return [UserRow(**row) for row in (await connection.execute(select(users).order_by(users.c.folded))).mappings()]


async def user_by_id(connection: AsyncConnection, user_id: str) -> UserRow | None:
    row = (await connection.execute(select(users).where(users.c.user_id == user_id))).mappings().one_or_none()
    return UserRow(**row) if row is not None else None


async def user_by_name(connection: AsyncConnection, folded: str) -> UserRow | None:
    row = (await connection.execute(select(users).where(users.c.folded == folded))).mappings().one_or_none()
    return UserRow(**row) if row is not None else None


async def user_by_identity(connection: AsyncConnection, identity: str) -> UserRow | None:
    row = (await connection.execute(select(users).where(users.c.identity == identity))).mappings().one_or_none()
    return UserRow(**row) if row is not None else None


async def user_count(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.count()).select_from(users))).scalar_one())


async def insert_user(connection: AsyncConnection, row: UserRow) -> None:
    values = {name: getattr(row, name) for name in UserRow.__dataclass_fields__}
    await connection.execute(insert(users).values(**values))


async def change_user(connection: AsyncConnection, user_id: str, **values: object) -> None:
    await connection.execute(update(users).where(users.c.user_id == user_id).values(**values))


async def token_by_id(connection: AsyncConnection, token_id: str) -> TokenRow | None:
    wanted = [tokens.c[name] for name in TokenRow.__dataclass_fields__]
    row = (await connection.execute(select(*wanted).where(tokens.c.token_id == token_id))).mappings().one_or_none()
    return TokenRow(**row) if row is not None else None


async def live_token_named(connection: AsyncConnection, name: str, now: datetime) -> bool:
    """Whether a token that opens something has this name, whatever its letters' case."""
    live = tokens.c.revoked_at.is_(None) & or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    names = (await connection.execute(select(tokens.c.name).where(live))).scalars()
    return any(each.casefold() == name.casefold() for each in names)


async def session_by_digest(connection: AsyncConnection, digest: str) -> SessionRow | None:
    row = (await connection.execute(select(sessions).where(sessions.c.digest == digest))).mappings().one_or_none()
    return SessionRow(**row) if row is not None else None


async def session_by_id(connection: AsyncConnection, session_id: str) -> SessionRow | None:
    row = (await connection.execute(select(sessions).where(sessions.c.session_id == session_id))).mappings().one_or_none()
    return SessionRow(**row) if row is not None else None


async def sessions_of(connection: AsyncConnection, *, user_id: str | None, token_id: str | None) -> Sequence[SessionRow]:
    """Newest first."""
    mine = sessions.c.user_id == user_id if user_id is not None else sessions.c.token_id == token_id
    query = select(sessions).where(mine).order_by(sessions.c.created_at.desc(), sessions.c.session_id.desc())
    return [SessionRow(**row) for row in (await connection.execute(query)).mappings()]


async def insert_session(connection: AsyncConnection, row: SessionRow) -> None:
    values = {name: getattr(row, name) for name in SessionRow.__dataclass_fields__}
    await connection.execute(insert(sessions).values(**values))


async def delete_sessions(connection: AsyncConnection, ids: Collection[str]) -> None:
    await connection.execute(delete(sessions).where(sessions.c.session_id.in_(sorted(ids))))


async def delete_sessions_and_links_of(connection: AsyncConnection, user_id: str) -> int:
    """Everything by which a user is, or could be, signed in without a password; returns how many sessions there were."""
    await connection.execute(delete(sign_in_links).where(sign_in_links.c.user_id == user_id))
    return (await connection.execute(delete(sessions).where(sessions.c.user_id == user_id))).rowcount


async def delete_ended(connection: AsyncConnection, now: datetime, *, idle_since: datetime) -> None:
    """Sessions and links whose time is over."""
    await connection.execute(delete(sessions).where(or_(sessions.c.expires_at <= now, sessions.c.seen_at <= idle_since)))
    await connection.execute(delete(sign_in_links).where(sign_in_links.c.expires_at <= now))


async def save_seen(connection: AsyncConnection, seen: Mapping[str, datetime]) -> None:
    for session_id, at in seen.items():
        await connection.execute(update(sessions).where(sessions.c.session_id == session_id).values(seen_at=at))


async def save_used(connection: AsyncConnection, used: Mapping[str, datetime]) -> None:
    """When these tokens were used last."""
    for token_id, at in used.items():
        await connection.execute(update(tokens).where(tokens.c.token_id == token_id).values(last_used_at=at))


async def link_count(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.count()).select_from(sign_in_links))).scalar_one())


async def insert_link(connection: AsyncConnection, row: LinkRow) -> None:
    values = {name: getattr(row, name) for name in LinkRow.__dataclass_fields__}
    await connection.execute(insert(sign_in_links).values(**values))


async def take_link(connection: AsyncConnection, digest: str) -> LinkRow | None:
    """The link, which is used up by that."""
    row = (await connection.execute(select(sign_in_links).where(sign_in_links.c.digest == digest))).mappings().one_or_none()
    if row is None:
        return None
    await connection.execute(delete(sign_in_links).where(sign_in_links.c.digest == digest))
    return LinkRow(**row)
