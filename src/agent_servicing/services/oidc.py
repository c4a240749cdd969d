"""Signing in by OpenID Connect: what the provider says of a person becomes a user with a role. Called by `web`; the protocol is an adapter's."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from agent_servicing.core.errors import Denied, PermanentError, TemporaryError, Unavailable, Unknown
from agent_servicing.ports import Clock
from agent_servicing.ports.access import Errand, IdentityProvider
from agent_servicing.services.access import Role
from agent_servicing.services.sessions import Opened, Sessions, Visitor, entitled
from agent_servicing.services.sign_in import SignIn
from agent_servicing.services.users import Rights, Users
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database

ERRANDS_MAX: Final = 1_000
"""Browsers that are at the provider now; the one that left first is forgotten."""

ERRAND_SECONDS: Final = 600.0
"""How long somebody may take there."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Away:
    errand: Errand
    redirect_uri: str
    until: float


class OidcSignIn:
    """None of it is kept over a restart: who was at the provider then begins anew."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        settings: Settings,
        users: Users,
        sessions: Sessions,
        sign_in: SignIn,
        provider: IdentityProvider | None,
    ) -> None:
        self._database, self._clock, self._settings = database, clock, settings
        self._users, self._sessions, self._sign_in, self._provider = users, sessions, sign_in, provider
        self._away: OrderedDict[str, _Away] = OrderedDict()

    @property
    def offered(self) -> bool:
        return self._provider is not None

    async def begin(self, redirect_uri: str) -> Errand:
        """Where to send the browser; its `state` has to come back with it. Raises Unavailable `oidc_off`, `oidc_unavailable`."""
        try:
            errand = await self._known().begin(redirect_uri)
        except (TemporaryError, PermanentError) as error:
            raise self._unavailable(error) from error
        self._away[errand.state] = _Away(errand=errand, redirect_uri=redirect_uri, until=self._clock.monotonic() + ERRAND_SECONDS)
        while len(self._away) > ERRANDS_MAX:
            self._away.popitem(last=False)
        return errand

    async def finish(self, *, code: str, state: str, kept_state: str | None, visitor: Visitor) -> Opened:
        """A session for who came back. `kept_state` is what this browser was given when it left.

        Raises Unknown `oidc_failed`, Denied `oidc_not_allowed`, Unavailable `oidc_off`, `oidc_unavailable`.
        """
        provider = self._known()
        away = self._away.pop(state, None)
        if away is None or kept_state != state or away.until <= self._clock.monotonic():
            await self._sign_in.tell_failure("oidc", None, visitor, why="another browser, or too late")
            raise _failed("This sign-in was begun elsewhere, or too long ago.")
        try:
            claims = await provider.finish(away.redirect_uri, code, away.errand)
        except TemporaryError as error:
            raise self._unavailable(error) from error
        except PermanentError as error:
            log.warning("oidc_refused", problem=str(error))
            await self._sign_in.tell_failure("oidc", None, visitor, why=str(error))
            raise _failed(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
        return await self._entered(claims, visitor)

    async def refused(self, error: str, visitor: Visitor) -> Unknown:
        """The error for a browser that the provider sent back empty-handed."""
        await self._sign_in.tell_failure("oidc", None, visitor, why=error)
        return _failed(f"The provider says {error}.")

    async def _entered(self, claims: Mapping[str, object], visitor: Visitor) -> Opened:
        name, role = self._name(claims), self._role(claims)
        if role is None:
            await self._sign_in.tell_failure("oidc", None, visitor, why="not allowed")
            hint = "Ask an admin; oidc_allowed_domains and the oidc_*_values settings say who may come in, and as what."
            raise Denied(f"{name} may not sign in here.", hint=hint, code="oidc_not_allowed")
        identity = f"{self._known().issuer} {claims.get('sub')}"
        async with self._database.write() as connection:
            row = await self._users.from_outside(connection, identity, name, Rights(role=role))
            if entitled(row, self._clock.now()):
                return await self._sessions.open(connection, row, "oidc", visitor)
        await self._sign_in.tell_failure("oidc", None, visitor, why="disabled")
        raise Denied(f"{name} is disabled.", hint="Ask an admin.", code="oidc_not_allowed")

    def _name(self, claims: Mapping[str, object]) -> str:
        """A mail address only when the provider has verified it: otherwise anybody could call themselves by somebody else's."""
        mail = claims.get("email")
        if isinstance(mail, str) and mail and claims.get("email_verified") is not False:
            return mail
        preferred = claims.get("preferred_username")
        return preferred if isinstance(preferred, str) and preferred else str(claims.get("sub"))

    def _role(self, claims: Mapping[str, object]) -> Role | None:
        """The highest role that a value of the claim stands for; without one the default, None for who may not come in."""
        settings, found = self._settings, claims.get(self._settings.oidc_role_claim)
        held = {str(each) for each in found} if isinstance(found, list) else {str(found)} if found is not None else set()
        if not self._from_here(claims):
            return None
        for role, values in ((Role.ADMIN, settings.oidc_admin_values), (Role.OPERATOR, settings.oidc_operator_values)):
            if held & set(values):
                return role
        if held & set(settings.oidc_viewer_values):
            return Role.VIEWER
        return Role(settings.oidc_default_role) if settings.oidc_default_role != "none" else None

    def _from_here(self, claims: Mapping[str, object]) -> bool:
        domains = {domain.casefold() for domain in self._settings.oidc_allowed_domains}
        mail = claims.get("email")
        verified = isinstance(mail, str) and claims.get("email_verified") is not False
        return not domains or (verified and str(mail).rpartition("@")[2].casefold() in domains)

    def _known(self) -> IdentityProvider:
        if self._provider is None:
            raise Unavailable("Signing in by a provider is not set up.", hint="docs/guides/access.md tells how.", code="oidc_off")
        return self._provider

    def _unavailable(self, error: Exception) -> Unavailable:
        log.warning("oidc_unavailable", problem=str(error))
        hint = "Sign in with a password meanwhile; tokens work as ever."
        return Unavailable(f"Signing in by the provider is not possible now: {error}.", hint=hint, code="oidc_unavailable")


def _failed(message: str) -> Unknown:
    return Unknown(message, hint="Begin again at the sign-in page.", code="oidc_failed")
