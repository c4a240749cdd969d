"""Who may do what: tokens, their roles, and the admin token in the data directory. Called by `web` for every request and by `bootstrap` once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from agent_servicing.ports import Clock, Ids
from agent_servicing.store.database import Database


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
    """Who is asking. `agents` None means all of them."""

    name: str
    role: Role
    agents: frozenset[str] | None
    token_id: str

    def may(self, needed: Role, agent: str | None = None) -> bool:
        """Whether this principal has the role, for that agent where one is named."""
        return self.role.covers(needed) and (agent is None or self.agents is None or agent in self.agents)


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


class Access:
    def __init__(self, *, database: Database, clock: Clock, ids: Ids) -> None:
        self._database, self._clock, self._ids = database, clock, ids

    async def ensure_admin_token(self, data_dir: Path) -> str:
        """The token in `data_dir/admin.token` (mode 600), made and registered when missing."""
        raise NotImplementedError

    async def authenticate(self, token: str) -> Principal | None:
        """Who holds this token; None when unknown, expired or revoked."""
        raise NotImplementedError

    async def create_token(
        self, name: str, role: Role, agents: Collection[str] | None = None, expires_at: datetime | None = None, *, actor: str
    ) -> str:
        """A new token, shown this once; only its hash is kept. Raises Conflict `token_exists` for a live token of the same name."""
        raise NotImplementedError

    async def list_tokens(self) -> list[TokenInfo]:
        """All tokens, newest first."""
        raise NotImplementedError

    async def revoke_token(self, token_id: str, *, actor: str) -> None:
        """Raises NotFound `unknown_token`, Conflict `last_admin` for the data directory's own token."""
        raise NotImplementedError
