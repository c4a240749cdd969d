"""Proving who one is: by password, by a one-time link, by the set-up token. Called by `web`; a success opens a session.

Every failure is answered alike and takes as long, whether the person exists or not; too many of them lock out for a while.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from agent_servicing.core.errors import Conflict, NotFound, ServicingError, TooMany, Unknown
from agent_servicing.core.events import SYSTEM
from agent_servicing.core.passwords import CHARACTERS_MAX, normalised
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.access import Passwords
from agent_servicing.services.access import Principal
from agent_servicing.services.sessions import Opened, Sessions, Visitor, entitled
from agent_servicing.services.throttle import Throttle
from agent_servicing.services.users import Users, folded
from agent_servicing.settings import Settings
from agent_servicing.store import access as table
from agent_servicing.store.access import Holder, LinkRow
from agent_servicing.store.database import Database

LINK_SECONDS: Final = 15 * 60.0
"""How long a one-time link is good, unless its maker knows better."""

LINKS_MAX: Final = 1_000
FRESH_SECONDS: Final = 15 * 60.0
"""So long after coming in by a link a person may set a password without knowing the old one: that is what links are for."""

FAILURES_TOLD_MAX: Final = 60
FAILURES_WINDOW_SECONDS: Final = 60.0
"""Failed sign-ins written to the audit in so much time; more are counted, so that an attack cannot fill the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A one-time sign-in; `token` is shown this once."""

    token: str
    name: str
    expires_at: datetime


class SignIn:
    def __init__(
        self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, passwords: Passwords, users: Users, sessions: Sessions
    ) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._passwords, self._users, self._sessions = passwords, users, sessions
        self._throttle = Throttle(clock=clock, limit=settings.sign_in_attempts, seconds=settings.sign_in_lock_seconds)
        self._told: list[float] = []
        self._untold = 0

    async def by_password(self, user: str, password: str, visitor: Visitor) -> Opened:
        """Raises Unknown `sign_in_failed`, TooMany `too_many_attempts`, Unavailable `sign_in_busy`."""
        name = folded(user)[:400]
        last = self._attempt(name, visitor)
        async with self._database.read() as connection:
            row = await table.user_by_name(connection, name)
        kept = row.password if row is not None and row.disabled_at is None else None
        if not await self._passwords.matches(kept, normalised(password[: CHARACTERS_MAX + 1])) or row is None:
            raise await self._failed("password", row.name if row else None, visitor, locked=last)
        fresh = await self._passwords.hash(normalised(password)) if self._passwords.outdated(row.password or "") else None
        async with self._database.write() as connection:
            now = await table.user_by_id(connection, row.user_id)
            unchanged = now is not None and now.password == row.password and entitled(now, self._clock.now())
            if unchanged and fresh is not None:
                await table.change_user(connection, row.user_id, password=fresh)
            opened = await self._sessions.open(connection, row, "password", visitor) if unchanged else None
        if opened is None:
            raise await self._failed("password", row.name, visitor, locked=last)
        self._throttle.succeeded(name, visitor.address)
        return opened

    async def by_link(self, token: str, visitor: Visitor) -> Opened:
        """Raises Unknown `sign_in_failed`, TooMany `too_many_attempts`."""
        last, opened = self._attempt("", visitor), None
        async with self._database.write() as connection:
            link = await table.take_link(connection, _digest(token))
            if link is not None and link.expires_at > self._clock.now():
                holder: Holder | None = (
                    await table.user_by_id(connection, link.user_id)
                    if link.user_id is not None
                    else await table.token_by_id(connection, link.token_id or "")
                )
                if holder is not None and entitled(holder, self._clock.now()):
                    opened = await self._sessions.open(connection, holder, "link", visitor)
        if opened is None:
            raise await self._failed("link", None, visitor, locked=last)
        self._throttle.succeeded("", visitor.address)
        return opened

    async def by_setup(self, setup_token: str, name: str, password: str, visitor: Visitor) -> Opened:
        """The first admin is made and signed in. Raises what `Users.set_up` does, TooMany `too_many_attempts`."""
        last = self._attempt("", visitor)
        try:
            user = await self._users.set_up(setup_token, name, password)
        except Unknown:
            await self.tell_failure("setup", None, visitor, locked=last)
            raise
        except ServicingError:
            self._throttle.succeeded("", visitor.address)  # the token was right, or nothing could be tried with it
            raise
        self._throttle.succeeded("", visitor.address)
        async with self._database.write() as connection:
            row = await table.user_by_id(connection, user.user_id)
            if row is None:
                raise AssertionError(f"{user.user_id} was made a moment ago")
            return await self._sessions.open(connection, row, "setup", visitor)

    async def change_password(self, principal: Principal, current: str | None, new: str, visitor: Visitor) -> Opened:
        """One's own. All sessions end, this one goes on under a new secret.

        Raises Conflict `no_user`, Unknown `sign_in_failed`, TooMany `too_many_attempts`, Invalid `bad_password`.
        """
        if principal.user_id is None:
            hint = "Sign in as a user; an admin sets anybody's password with PUT /users/{user}/password."
            raise Conflict("A token has no password.", hint=hint, code="no_user")
        await self._prove(principal, current, visitor)
        await self._users.set_password(principal.user_id, new, actor=principal.name)
        async with self._database.write() as connection:
            row = await table.user_by_id(connection, principal.user_id)
            if row is None or not entitled(row, self._clock.now()):
                raise Unknown("The account was disabled meanwhile.", code="sign_in_failed")
            return await self._sessions.open(connection, row, "password", visitor)

    async def link_for(self, user: str, *, actor: str, seconds: float = LINK_SECONDS) -> Link:
        """A one-time link for somebody else, to be handed over safely. Raises NotFound `unknown_user`, Conflict `user_disabled`, `too_many_links`."""
        found = await self._users.get(user)
        if found.disabled_at is not None:
            raise Conflict(f"{found.name} is disabled.", hint="Enable the user first.", code="user_disabled")
        return await self._link(found.name, user_id=found.user_id, token_id=None, actor=actor, seconds=seconds)

    async def own_link(self, principal: Principal, *, seconds: float = LINK_SECONDS) -> Link:
        """A one-time link to be signed in with the rights of one's token. Raises Conflict `token_needed`, `too_many_links`."""
        if principal.session_id is not None or principal.instance is not None:
            hint = "Use a token, or ask an admin for POST /users/{user}/link."
            raise Conflict("A session cannot make a link to another one.", hint=hint, code="token_needed")
        return await self._link(principal.name, user_id=None, token_id=principal.token_id, actor=principal.name, seconds=seconds)

    async def sign_out_user(self, user: str, *, actor: str) -> int:
        """End all sessions of somebody; returns how many. Raises NotFound `unknown_user`."""
        found = await self._users.get(user)
        async with self._database.write() as connection:
            ended = await table.delete_sessions_and_links_of(connection, found.user_id)
            data: dict[str, object] = {"user_id": found.user_id, "user": found.name, "sessions_ended": ended, "status": "success"}
            await self._sessions.tell(connection, "sessions_ended", actor, data)
        return ended

    async def _link(self, name: str, *, user_id: str | None, token_id: str | None, actor: str, seconds: float) -> Link:
        now, token = self._clock.now(), self._ids.token()
        row = LinkRow(
            digest=_digest(token), user_id=user_id, token_id=token_id, created_at=now, expires_at=now + timedelta(seconds=seconds)
        )
        async with self._database.write() as connection:
            await table.delete_ended(connection, now, idle_since=now - timedelta(seconds=self._settings.session_seconds))
            if await table.link_count(connection) >= LINKS_MAX:
                hint = "They end by themselves after some minutes."
                raise Conflict(f"There are {LINKS_MAX} unused links already.", hint=hint, code="too_many_links")
            await table.insert_link(connection, row)
            data: dict[str, object] = {"user": name, "expires_at": row.expires_at.isoformat(), "status": "success"}
            await self._sessions.tell(connection, "sign_in_link_created", actor, data)
        return Link(token=token, name=name, expires_at=row.expires_at)

    async def _prove(self, principal: Principal, current: str | None, visitor: Visitor) -> None:
        """That it is really they who sit there, and not somebody who found the browser open."""
        async with self._database.read() as connection:
            row = await table.user_by_id(connection, principal.user_id or "")
            session = await table.session_by_id(connection, principal.session_id or "")
        if row is None:
            raise NotFound("This user is gone.", code="unknown_user")
        fresh = session is not None and (self._clock.now() - session.created_at).total_seconds() <= FRESH_SECONDS
        if session is not None and fresh and (session.method == "link" or row.password is None):
            return
        name = row.folded
        last = self._attempt(name, visitor)
        if current is None or not await self._passwords.matches(row.password, normalised(current[: CHARACTERS_MAX + 1])):
            raise await self._failed("password", row.name, visitor, locked=last)
        self._throttle.succeeded(name, visitor.address)

    def _attempt(self, name: str, visitor: Visitor) -> bool:
        """Whether this is the last attempt allowed for a while. Raises TooMany `too_many_attempts`."""
        wait = self._throttle.wait_seconds(name, visitor.address)
        if wait > 0:
            hint = f"Try again in {ceil(wait)} s."
            raise TooMany("Too many failed sign-ins.", hint=hint, code="too_many_attempts", retry_after_seconds=wait)
        return self._throttle.begin(name, visitor.address)

    async def _failed(self, method: str, user: str | None, visitor: Visitor, *, locked: bool) -> Unknown:
        await self.tell_failure(method, user, visitor, locked=locked)
        if method == "link":
            return Unknown("This link is not good, or not any more.", hint="Ask for a new one.", code="sign_in_failed")
        return Unknown("User and password do not fit.", hint="An admin can set a new password.", code="sign_in_failed")

    async def tell_failure(self, method: str, user: str | None, visitor: Visitor, *, locked: bool = False, why: str = "") -> None:
        """Only names that exist are written: people type their password into the wrong field."""
        now = self._clock.monotonic()
        self._told = [at for at in self._told if now - at < FAILURES_WINDOW_SECONDS]
        if len(self._told) >= FAILURES_TOLD_MAX:
            self._untold += 1
            return
        self._told.append(now)
        untold, self._untold = self._untold, 0
        data: dict[str, object] = {"method": method, "user": user, "address": visitor.address[:100], "locked": locked, "status": "failed"}
        data |= {"why": why[:200]} if why else {}
        async with self._database.write() as connection:
            await self._sessions.tell(connection, "sign_in_failed", SYSTEM, {**data, "untold_before": untold} if untold else data)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
