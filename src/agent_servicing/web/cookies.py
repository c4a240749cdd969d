"""The session cookie, and what shows that a request which carries it was made by a page of ours. Used by `auth`, the live view and `routes.session`.

A browser sends the cookie along with whatever a page makes it ask for. Three things keep foreign pages from using that: the cookie goes with
requests from our own site only (SameSite), a changing request needs a header whose value only our page can read, and what the browser
says of the request's origin has to be us. The data plane is another port of the same site: what agents answer is foreign, too.
"""

import hmac
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from agent_servicing.core.errors import Denied
from agent_servicing.services.sessions import Opened, csrf_token
from agent_servicing.settings import Settings

NAME: Final = "servicing_session"
SECURE_NAME: Final = "__Host-servicing_session"
"""Over TLS; the prefix makes browsers refuse one that a neighbour on the same domain, or somebody on the line, has set."""

CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})


def session_secret(connection: HTTPConnection, settings: Settings) -> str | None:
    """The session cookie's value, None without one."""
    return connection.cookies.get(SECURE_NAME if is_secure(connection, settings) else NAME) or None


def set_session(response: Response, connection: HTTPConnection, settings: Settings, opened: Opened) -> None:
    """Give the browser its session. It ends with the browser at the latest, so no time is written."""
    secure = is_secure(connection, settings)
    response.set_cookie(SECURE_NAME if secure else NAME, opened.secret, path="/", secure=secure, httponly=True, samesite="strict")


def drop_session(response: Response, connection: HTTPConnection, settings: Settings) -> None:
    secure = is_secure(connection, settings)
    response.delete_cookie(SECURE_NAME if secure else NAME, path="/", secure=secure, httponly=True, samesite="strict")


def is_secure(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether the browser speaks TLS, to us or to the proxy that `public_url` tells of."""
    return own_origin(connection, settings).startswith("https:")


def own_origin(connection: HTTPConnection, settings: Settings) -> str:
    """Scheme and host by which this browser reaches us."""
    if settings.public_url is not None:
        return settings.public_url.lower()
    secure = connection.scope.get("scheme") in ("https", "wss")
    return f"{'https' if secure else 'http'}://{connection.headers.get('host', '').lower()}"


def check_origin(connection: HTTPConnection, settings: Settings, *, needed: bool = False) -> None:
    """Raises Denied `foreign_origin` when the browser says that another page asks, or, if `needed`, when it does not say."""
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    foreign = (site is not None and site not in _OWN_SITES) or (origin is not None and not _same(origin, own_origin(connection, settings)))
    if foreign or (needed and origin is None):
        hint = "Behind a proxy, set public_url to the address that browsers use."
        raise Denied("This request comes from another page.", hint=hint, code="foreign_origin")


def check_csrf(connection: HTTPConnection, secret: str) -> None:
    """Raises Denied `csrf_token` unless the header has the session's own value."""
    given = connection.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), csrf_token(secret).encode()):
        hint = f"Send {CSRF_HEADER} with the csrf_token of GET /api/platform/me, or use a token instead of the session."
        raise Denied(f"A session changes things only with the header {CSRF_HEADER}.", hint=hint, code="csrf_token")


def _same(origin: str, own: str) -> bool:
    """Equal but for a port that is named without need."""
    return _parts(origin) == _parts(own)


def _parts(origin: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(origin.lower())
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
