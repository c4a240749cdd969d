"""Sign-in by OpenID Connect: the code flow with PKCE, state and nonce. `bootstrap` makes one when `oidc_issuer` is set; `services.oidc` uses it.

Authlib writes the requests and joserfc, its JOSE half, checks signatures and claims; the requests themselves are ours, with a limit on each.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import anyio
import httpx
from anyio import to_thread
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.access import Errand

TIMEOUT_SECONDS: Final = 10.0
"""For one answer of the provider: somebody sits there and waits."""

ANSWER_BYTES_MAX: Final = 1024 * 1024
KNOWN_SECONDS: Final = 300.0
"""How long the provider's own description and keys are believed without asking again."""

SKEW_SECONDS: Final = 60
"""How far its clock and ours may differ."""

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Signatures by a key that only the provider has; never `none`, nor one that could be made with what everybody knows."""

CLOCK_HINT: Final = "compare the clocks of both machines (timedatectl); they may differ by a minute"


class OidcProvider:
    """Implements `IdentityProvider`, as an async context manager. A provider that is down is noticed at a sign-in, never at our start."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        secret_file: Path | None,
        scope: str,
        clock: Clock,
        ids: Ids,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer, self._client_id, self._secret_file, self._scope = issuer, client_id, secret_file, scope
        self._clock, self._ids = clock, ids
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, transport=transport)
        self._known: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def issuer(self) -> str:
        return self._issuer

    async def begin(self, redirect_uri: str) -> Errand:
        endpoint = _address(await self._described(), "authorization_endpoint")
        state, nonce, verifier = self._ids.token(), self._ids.token(), self._ids.token()
        url = prepare_grant_uri(
            endpoint,
            self._client_id,
            "code",
            redirect_uri,
            self._scope,
            state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),  # type: ignore[no-untyped-call]
            code_challenge_method="S256",
        )
        return Errand(url=url, state=state, nonce=nonce, verifier=verifier)

    async def finish(self, redirect_uri: str, code: str, errand: Errand) -> Mapping[str, object]:
        described = await self._described()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "code_verifier": errand.verifier,
        }
        secret = await to_thread.run_sync(self._secret)
        auth = httpx.BasicAuth(self._client_id, secret) if secret else None
        answer = await self._ask("POST", _address(described, "token_endpoint"), data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise PermanentError(f"the provider {self._issuer} sent no ID token")
        return await self._checked(token, errand.nonce)

    async def _checked(self, token: str, nonce: str) -> Mapping[str, object]:
        """Keys are asked for anew once when the token was signed by one that is not known: providers change them."""
        claims: Mapping[str, object] | None = None
        for fresh in (False, True):
            try:
                claims = jwt.decode(token, await self._key_set(fresh=fresh), algorithms=ALGORITHMS).claims
                break
            except (JoseError, ValueError) as error:
                if fresh:
                    raise PermanentError(f"the ID token of {self._issuer} is not signed as it should be: {_words(error)}") from error
        if claims is None:
            raise AssertionError("the second try returns or raises")
        self._validate(claims, nonce)
        return claims

    def _validate(self, claims: Mapping[str, object], nonce: str) -> None:
        now = int(self._clock.now().timestamp())
        registry = jwt.JWTClaimsRegistry(
            now=now,
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            registry.validate(dict(claims))
        except ExpiredTokenError as error:
            raise PermanentError(f"the ID token of {self._issuer} has expired already: {CLOCK_HINT}") from error
        except JoseError as error:
            hint = f": {CLOCK_HINT}" if getattr(error, "claim", "") in ("iat", "nbf") else ""
            raise PermanentError(f"the ID token of {self._issuer} is not for this sign-in ({_words(error)}){hint}") from error
        audience = claims.get("aud")
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._client_id:
            raise PermanentError(f"the ID token of {self._issuer} was made for another client")

    async def _described(self) -> Mapping[str, Any]:
        now = self._clock.monotonic()
        if self._known is None or now - self._known[0] > KNOWN_SECONDS:
            found = await self._ask("GET", f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise PermanentError(
                    f"the provider at {self._issuer} calls itself {found.get('issuer')!r}; set oidc_issuer to that if it is right"
                )
            self._known = (now, found)
        return self._known[1]

    async def _key_set(self, *, fresh: bool) -> KeySet:
        now = self._clock.monotonic()
        if fresh or self._keys is None or now - self._keys[0] > KNOWN_SECONDS:
            found = await self._ask("GET", _address(await self._described(), "jwks_uri"))
            try:
                self._keys = (now, KeySet.import_key_set(found))  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise PermanentError(f"the keys of {self._issuer} cannot be read: {_words(error)}") from error
        return self._keys[1]

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        try:
            with anyio.fail_after(TIMEOUT_SECONDS):
                answer = await self._http.request(method, url, headers={"Accept": "application/json"}, **more)
        except (httpx.TransportError, TimeoutError) as error:
            raise TemporaryError(f"the provider {self._issuer} cannot be reached: {_words(error)}") from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise TemporaryError(f"the provider {self._issuer} answered {answer.status_code}")
        try:
            found = answer.json() if len(answer.content) <= ANSWER_BYTES_MAX else None
        except ValueError:
            found = None
        if not answer.is_success or not isinstance(found, dict):
            why = f": {found.get('error')} {found.get('error_description') or ''}".rstrip() if isinstance(found, dict) else ""
            raise PermanentError(f"the provider {self._issuer} answered {answer.status_code}{why}")
        return found

    def _secret(self) -> str | None:
        """Read for each sign-in, so that a new one needs no restart."""
        if self._secret_file is None:
            return None
        try:
            return self._secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PermanentError(f"oidc_client_secret_file cannot be read: {_words(error)}") from error


def _address(described: Mapping[str, Any], name: str) -> str:
    found = described.get(name)
    if not isinstance(found, str) or not found.startswith(("https://", "http://")):
        raise PermanentError(f"the provider's description has no usable {name}")
    return found


def _words(error: Exception) -> str:
    """What is wrong, in one line, without anything secret: messages of JOSE errors name claims and keys only."""
    return " ".join((str(error) or type(error).__name__).split())[:200]
