"""The commands' way to the server: one method per endpoint of the public API, JSON in and out, every failure a `ServicingError`.

Requests that change something carry an `Idempotency-Key`, so that sending them again after a lost answer is safe; it is done here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from agent_servicing.cli.answers import Json, entries, parsed, retry_after, under_way
from agent_servicing.cli.discovery import START_HINT, Target
from agent_servicing.cli.exits import ServerAbsent
from agent_servicing.cli.surroundings import Surroundings
from agent_servicing.core.errors import Unavailable

if TYPE_CHECKING:
    import httpx

PREFIX: Final = "/api/platform"
TIMEOUT_SECONDS: Final = 30.0
"""For one answer. Refreshing versions asks a remote repository, which is what takes longest."""

_SLOW: Final = {f"{PREFIX}/audit/verify": 900.0}
"""Answers that take longer: the whole history is read for one, which takes some 15 s of a processor for each million entries."""

BACKUP_SECONDS: Final = 900.0
"""For the first byte of a backup: it is gathered and read back before."""

UPLOAD_TIMEOUT_SECONDS: Final = 300.0
"""For taking in an archive and unpacking it."""

ATTEMPTS: Final = 3
PAUSES_SECONDS: Final = (0.3, 1.0)
UNDER_WAY_ATTEMPTS: Final = 60
UNDER_WAY_PAUSE_SECONDS: Final = 2.0
"""Longer than the server takes a request for one that is still under way: after that it may be begun anew."""

PAGE: Final = 200
"""Entries asked for at a time in lists."""

MAX_PAGES: Final = 5_000
"""A million entries: an export ends even when a server's cursor never does."""

_AGAIN: Final = frozenset({502, 503, 504, 429})


class Api:
    """A connection to one server. `get`, `send` and `pages` are the primitives; everything else names an endpoint."""

    def __init__(self, target: Target, surroundings: Surroundings) -> None:
        import httpx  # noqa: PLC0415  a third of a second at import

        self.target = target
        self._around = surroundings
        local = (urlsplit(target.url).hostname or "") in {"127.0.0.1", "localhost", "::1"}
        self._http = httpx.Client(
            base_url=target.url,
            headers={"Accept": "application/json", "User-Agent": "servicing-cli", **self.headers()},
            timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=5.0),
            transport=surroundings.transport,
            trust_env=not local,
        )

    def close(self) -> None:
        self._http.close()

    def headers(self) -> dict[str, str]:
        """The authentication header, empty without a token; the WebSocket sends it too."""
        return {"Authorization": f"Bearer {self.target.token}"} if self.target.token else {}

    # --- agents ---------------------------------------------------------------------------------------------------

    def agents(self) -> list[Json]:
        return list(self.pages(f"{PREFIX}/agents", key="agents"))

    def agent(self, agent: str) -> Json:
        return self.get(path_of("agents", agent))

    def add_agent(self, body: Json) -> Json:
        return self.send("POST", path_of("agents"), body)

    def remove_agent(self, agent: str, reason: str) -> Json:
        return self.send("DELETE", path_of("agents", agent), params={"reason": reason} if reason else None)

    def scale(self, agent: str, instances: int, reason: str) -> Json:
        return self.send("POST", path_of("agents", agent, "scale"), {"instances": instances, "reason": reason})

    def set_approval(self, agent: str, body: Json) -> Json:
        return self.send("PUT", path_of("agents", agent, "approval"), body)

    def restart(self, agent: str, reason: str, *, override_freeze: bool = False) -> Json:
        more = {"override_freeze": True} if override_freeze else {}
        return self.send("POST", path_of("agents", agent, "restart"), {"reason": reason, **more})

    def instances(self, agent: str) -> list[Json]:
        return entries(self.get(path_of("agents", agent, "instances")), "instances")

    def generations(self, agent: str) -> list[Json]:
        return entries(self.get(path_of("agents", agent, "generations")), "generations")

    def logs(self, agent: str, *, instance: str | None, lines: int) -> list[Json]:
        """The last lines as `{"instance", "line"}`, oldest first."""
        params = {"lines": str(lines)} | ({"instance": instance} if instance else {})
        return entries(self.get(path_of("agents", agent, "logs"), params), "lines")

    def fleet(self) -> Json:
        return self.get(path_of("fleet"))

    # --- versions and deployments ---------------------------------------------------------------------------------

    def versions(self, agent: str) -> Json:
        return self.get(path_of("agents", agent, "versions"))

    def refresh(self, agent: str) -> Json:
        return self.send("POST", path_of("agents", agent, "versions", "refresh"))

    def upload_version(self, agent: str, content: bytes, params: Mapping[str, str | list[str]]) -> Json:
        """A plain body, so that sending it again is the same request; what is said about it stands in the query."""
        import httpx  # noqa: PLC0415

        headers = {"Content-Type": "application/octet-stream", "Idempotency-Key": self._around.ids.new("cli")}
        path = path_of("agents", agent, "versions")
        try:
            answer = self._http.post(path, content=content, params=params, headers=headers, timeout=UPLOAD_TIMEOUT_SECONDS)
        except httpx.TransportError as e:
            raise Unavailable(f"The upload to {self.target.url} broke off: {str(e) or type(e).__name__}.", hint="Try it again.") from e
        return parsed(answer)

    def changes(self, agent: str, from_version: str, to_version: str) -> Json:
        return self.get(path_of("agents", agent, "changes"), {"from": from_version, "to": to_version})

    def upgrade(self, agent: str, body: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "upgrade"), body)

    def rollback(self, agent: str, body: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "rollback"), body)

    def deployment(self, agent: str, deployment: str) -> Json:
        return self.get(path_of("agents", agent, "upgrades", deployment))

    def deployments(self, agent: str, limit: int) -> list[Json]:
        """The agent's newest deployments, newest first."""
        return entries(self.get(path_of("agents", agent, "upgrades"), {"limit": str(limit)}), "upgrades")

    def verb(self, agent: str, deployment: str, verb: str, body: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "upgrades", deployment, verb), body)

    def analysis(self, agent: str, deployment: str) -> Json:
        return self.get(path_of("agents", agent, "upgrades", deployment, "analysis"))

    def try_limits(self, agent: str, deployment: str, limits: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "upgrades", deployment, "analysis"), limits)

    # --- configuration ---------------------------------------------------------------------------------------------

    def config(self, agent: str) -> Json:
        return self.get(path_of("agents", agent, "config"))

    def patch_config(self, agent: str, body: Json) -> Json:
        return self.send("PATCH", path_of("agents", agent, "config"), body)

    def config_revisions(self, agent: str, limit: int) -> list[Json]:
        """Newest first."""
        return entries(self.get(path_of("agents", agent, "config", "revisions"), {"limit": str(limit)}), "revisions")

    def roll_back_config(self, agent: str, body: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "config", "rollback"), body)

    # --- schedule, queue, lock --------------------------------------------------------------------------------------

    def schedule(self) -> Json:
        return self.get(path_of("schedule"))

    def upcoming(self, days: int) -> Json:
        return self.get(path_of("schedule", "upcoming"), {"days": str(days)})

    def add_rule(self, body: Json) -> Json:
        return self.send("POST", path_of("schedule", "rules"), body)

    def remove_rule(self, rule: str, reason: str) -> Json:
        return self.send("DELETE", path_of("schedule", "rules", rule), params={"reason": reason} if reason else None)

    def stop_line(self, body: Json) -> Json:
        return self.send("POST", path_of("schedule", "stop"), body)

    def resume_line(self, body: Json) -> Json:
        return self.send("POST", path_of("schedule", "resume"), body)

    def set_limit(self, body: Json) -> Json:
        return self.send("PUT", path_of("schedule", "limit"), body)

    def queue(self, agent: str) -> Json:
        return self.get(path_of("agents", agent, "queue"))

    def lock(self, agent: str, body: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "lock"), body)

    def unlock(self, agent: str, reason: str) -> Json:
        return self.send("DELETE", path_of("agents", agent, "lock"), params={"reason": reason} if reason else None)

    # --- history and access ---------------------------------------------------------------------------------------

    def audit(self, filters: Mapping[str, str]) -> Iterator[Json]:
        """Audit entries, newest first, page after page as they are consumed."""
        return self.pages(f"{PREFIX}/audit", key="events", params=filters)

    def verify_audit(self, anchor: Json | None = None) -> Json:
        return self.get(path_of("audit", "verify"), {name: str(value) for name, value in (anchor or {}).items()})

    def audit_anchor(self) -> Json:
        return self.get(path_of("audit", "anchor"))

    def export_audit(self, filters: Mapping[str, str]) -> Iterator[bytes]:
        """The file, in pieces."""
        return self.stream(path_of("audit", "export"), filters)

    def create_token(self, body: Json) -> Json:
        return self.send("POST", path_of("tokens"), body)

    def tokens(self) -> list[Json]:
        return list(self.pages(f"{PREFIX}/tokens", key="tokens"))

    def revoke_token(self, token_id: str) -> Json:
        return self.send("DELETE", path_of("tokens", token_id))

    def users(self) -> list[Json]:
        return list(self.pages(f"{PREFIX}/users", key="users"))

    def user(self, user: str) -> Json:
        return self.get(path_of("users", user))

    def add_user(self, body: Json) -> Json:
        return self.send("POST", path_of("users"), body)

    def change_user(self, user: str, body: Json) -> Json:
        return self.send("PATCH", path_of("users", user), body)

    def act_on_user(self, user: str, verb: str) -> Json:
        return self.send("POST", path_of("users", user, verb))

    def set_user_password(self, user: str, password: str) -> Json:
        return self.send("PUT", path_of("users", user, "password"), {"password": password})

    def user_link(self, user: str) -> Json:
        return self.send("POST", path_of("users", user, "link"))

    def sign_user_out(self, user: str) -> Json:
        return self.send("DELETE", path_of("users", user, "sessions"))

    def own_link(self) -> Json:
        return self.send("POST", path_of("tokens", "sign-in"))

    def state(self, agent: str) -> Json:
        return self.get(path_of("agents", agent, "state"))

    def take_snapshot(self, agent: str, body: Json) -> Json:
        return self.send("POST", path_of("agents", agent, "state", "snapshots"), body)

    def rehearse(self, agent: str, snapshot: str) -> Json:
        return self.send("POST", path_of("agents", agent, "state", "snapshots", snapshot, "rehearse"))

    def unpack(self, agent: str, snapshot: str, reason: str) -> Json:
        return self.send("POST", path_of("agents", agent, "state", "snapshots", snapshot, "unpack"), params={"reason": reason})

    def bring_snapshot(self, agent: str, snapshot: str, reason: str) -> Json:
        return self.send("POST", path_of("agents", agent, "state", "snapshots", snapshot, "bring"), {"reason": reason})

    def remove_snapshot(self, agent: str, snapshot: str, reason: str) -> Json:
        return self.send("DELETE", path_of("agents", agent, "state", "snapshots", snapshot), params={"reason": reason})

    def export_set_aside(self, agent: str, epoch: int) -> Iterator[bytes]:
        """The records, in pieces."""
        return self.stream(path_of("agents", agent, "state", "set-aside", str(epoch), "records"))

    def offer_set_aside(self, agent: str, epoch: int, reason: str) -> Json:
        return self.send("POST", path_of("agents", agent, "state", "set-aside", str(epoch), "offer"), params={"reason": reason})

    def discard_set_aside(self, agent: str, epoch: int, reason: str) -> Json:
        return self.send("DELETE", path_of("agents", agent, "state", "set-aside", str(epoch)), {"reason": reason})

    def secrets(self) -> list[Json]:
        return list(self.pages(f"{PREFIX}/secrets", key="secrets"))

    def set_secret(self, name: str, body: Json) -> Json:
        return self.send("PUT", path_of("secrets", name), body)

    def apply_secret(self, name: str, body: Json) -> Json:
        return self.send("POST", path_of("secrets", name, "apply"), body)

    def remove_secret(self, name: str) -> Json:
        return self.send("DELETE", path_of("secrets", name))

    def backup(self, body: Json) -> Iterator[bytes]:
        """The file, in pieces; the first comes when the server has it complete."""
        import httpx  # noqa: PLC0415

        patient = httpx.Timeout(TIMEOUT_SECONDS, read=BACKUP_SECONDS)
        try:
            with self._http.stream("POST", path_of("backup"), json=body, timeout=patient) as answer:
                if not answer.is_success:
                    answer.read()
                    parsed(answer)
                yield from answer.iter_raw()
        except httpx.TransportError as e:
            raise Unavailable(f"The connection to {self.target.url} broke: {str(e) or type(e).__name__}.") from e

    def ready(self) -> tuple[bool, str, str | None]:
        """Whether the server says it is ready, its words, and its `Date` header."""
        answer = self._attempt("GET", "/readyz", None, None, {})
        return answer.is_success, answer.text.strip()[:200], answer.headers.get("Date")

    # --- primitives -----------------------------------------------------------------------------------------------

    def stream(self, path: str, params: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """What is too long to be held, in pieces."""
        with self._http.stream("GET", path, params=params) as answer:
            if not answer.is_success:
                answer.read()
                parsed(answer)
            yield from answer.iter_bytes()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        return self._json("GET", path, None, params, {}, again=True)

    def send(self, method: str, path: str, body: Json | None = None, params: Mapping[str, str] | None = None) -> Json:
        """A change. Sent again after a lost answer, under the same key, but for DELETE, whose second answer would differ."""
        key = {"Idempotency-Key": self._around.ids.new("cli")}
        return self._json(method, path, body, params, key, again=method != "DELETE")

    def pages(self, path: str, *, key: str, params: Mapping[str, str] | None = None) -> Iterator[Json]:
        """Every entry of a list, following its cursor."""
        asked = {"limit": str(PAGE), **(params or {})}
        for _ in range(MAX_PAGES):
            page = self.get(path, asked)
            yield from entries(page, key)
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = str(cursor)

    def _json(self, method: str, path: str, body: Json | None, params: Mapping[str, str] | None, extra: Json, *, again: bool) -> Json:
        attempts = ATTEMPTS if again else 1
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                answer = self._attempt(method, path, body, params, extra)
            except Unavailable:
                if last:
                    raise
                self._around.pause(PAUSES_SECONDS[attempt])
                continue
            if answer.status_code in _AGAIN and not last:
                self._around.pause(retry_after(answer, PAUSES_SECONDS[attempt]))
                continue
            return parsed(self._ended(answer, lambda: self._attempt(method, path, body, params, extra)) if attempt else answer)
        raise AssertionError("the last attempt returns or raises")

    def _ended(self, answer: "httpx.Response", ask: Callable[[], "httpx.Response"]) -> "httpx.Response":
        """The answer to a request that was sent again while the first one was still under way: waited for, because that one counts."""
        for _ in range(UNDER_WAY_ATTEMPTS):
            if not under_way(answer):
                break
            self._around.pause(UNDER_WAY_PAUSE_SECONDS)
            answer = ask()
        return answer

    def _attempt(self, method: str, path: str, body: Json | None, params: Mapping[str, str] | None, extra: Json) -> "httpx.Response":
        import httpx  # noqa: PLC0415

        try:
            timeout = httpx.Timeout(_SLOW.get(path, TIMEOUT_SECONDS), connect=5.0)
            return self._http.request(method, path, json=body, params=params, headers=extra, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as e:
            message = f"No server answers at {self.target.url} (from {self.target.found_by}): {str(e) or 'connection failed'}."
            raise ServerAbsent(message, hint=START_HINT) from e
        except httpx.TimeoutException as e:
            raise Unavailable(f"The server at {self.target.url} did not answer within {_SLOW.get(path, TIMEOUT_SECONDS):g} s.") from e
        except httpx.TransportError as e:
            raise Unavailable(f"The connection to {self.target.url} broke: {str(e) or type(e).__name__}.") from e


def path_of(*parts: str) -> str:
    return "/".join((PREFIX, *(quote(part, safe="") for part in parts)))
