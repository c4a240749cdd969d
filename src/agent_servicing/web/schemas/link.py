"""What instances say on the link, and the answer to it."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from agent_servicing.core.config.layers import Scope
from agent_servicing.core.config.report import Attempted, Load, Problem
from agent_servicing.core.config.said import Held, PendingKey, Said, SaidConfig, State, Tried
from agent_servicing.web.limits import LINK_PROBLEMS_MAX, LINK_WAIT_SECONDS_MAX, NAME_CHARACTERS_MAX
from agent_servicing.web.schemas.common import Body, Time, View, example
from agent_servicing.web.schemas.queries import Query

_HASH = "9b74c9897bac770ffc029102a200c5de3a4d9d6b3b2a3c8c6a4f0f6f7f3d2e1c"
_HELD: dict[str, Any] = {"revision": "cfg-1.2.5-p1", "hash": _HASH}
_TRIED: dict[str, Any] = {**_HELD, "phase": "commit", "result": "applied", "errors": [], "at": "2026-01-02T02:03:04Z"}
_CONFIG: dict[str, Any] = {
    "applied": _HELD,
    "prepared": None,
    "last_good": _HELD,
    "last_attempt": _TRIED,
    "pending": [{"path": "model", "scope": "restart"}],
}

Revision = Annotated[str, StringConstraints(max_length=NAME_CHARACTERS_MAX)]
Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class LinkBody(Body):
    """Strict in types, but a field that this server does not know is passed over: instances may be newer than their server."""

    model_config = ConfigDict(extra="ignore")


class HeldBody(LinkBody):
    model_config = ConfigDict(json_schema_extra={"examples": [_HELD]})

    revision: Revision
    hash: Hash = Field(description="SHA-256 of the text, lower-case hex")


class LinkProblem(LinkBody):
    model_config = ConfigDict(json_schema_extra=example(path="timeout_seconds", message="must be at least 1"))

    path: str = ""
    message: str = ""


class TriedBody(LinkBody):
    model_config = ConfigDict(json_schema_extra={"examples": [_TRIED]})

    revision: Revision
    hash: Hash
    phase: Literal["prepare", "commit"]
    result: Attempted
    errors: list[LinkProblem] = Field(default=[], max_length=LINK_PROBLEMS_MAX)
    at: Time | None = None


class PendingBody(LinkBody):
    model_config = ConfigDict(json_schema_extra=example(path="model", scope="restart"))

    path: str
    scope: Scope


class ConfigReportBody(LinkBody):
    model_config = ConfigDict(json_schema_extra={"examples": [_CONFIG]})

    applied: HeldBody | None = None
    prepared: HeldBody | None = None
    last_good: HeldBody | None = None
    last_attempt: TriedBody | None = None
    pending: list[PendingBody] = Field(default=[], max_length=LINK_PROBLEMS_MAX)


class LoadBody(LinkBody):
    model_config = ConfigDict(json_schema_extra=example(active_requests=3, active_streams=1, open_conversations=12))

    active_requests: int = Field(default=0, ge=0)
    active_streams: int = Field(default=0, ge=0)
    open_conversations: int = Field(default=0, ge=0)


class LinkReportBody(LinkBody):
    """What an instance has, after every change and every ten seconds. Its last attempt is told apart from what it has: after a return to
    the last good configuration they are two.
    """

    model_config = ConfigDict(
        json_schema_extra=example(
            level="sdk",
            client="servicing-sdk/0.1.0",
            config=_CONFIG,
            state="ready",
            load={"active_requests": 3, "active_streams": 1, "open_conversations": 12},
        )
    )

    level: Literal["sdk", "http", "script"]
    client: Annotated[str, StringConstraints(max_length=NAME_CHARACTERS_MAX)] = ""
    config: ConfigReportBody = ConfigReportBody()
    state: State = "ready"
    load: LoadBody | None = None

    def said(self) -> Said:
        config = self.config
        return Said(
            level=self.level,
            client=self.client,
            config=SaidConfig(
                applied=_held(config.applied),
                prepared=_held(config.prepared),
                last_good=_held(config.last_good),
                last_attempt=_tried(config.last_attempt),
                pending=tuple(PendingKey(path=one.path, scope=one.scope) for one in config.pending),
            ),
            state=self.state,
            load=_load(self.load),
        )


class LinkWanted(View):
    """What the instance is to have now. Both null: not known yet, the server has just started; ask again with the next report."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HELD]})

    revision: str | None
    hash: str | None


class LinkConfigQuery(Query):
    wait: float = Field(0.0, ge=0, le=LINK_WAIT_SECONDS_MAX, description="Seconds to wait for another text than the one in If-None-Match")


def _held(body: HeldBody | None) -> Held | None:
    return Held(revision=body.revision, hash=body.hash) if body is not None else None


def _load(body: LoadBody | None) -> Load | None:
    return Load(**body.model_dump()) if body is not None else None


def _tried(body: TriedBody | None) -> Tried | None:
    if body is None:
        return None
    errors = tuple(Problem(path=error.path, message=error.message) for error in body.errors)
    return Tried(revision=body.revision, hash=body.hash, phase=body.phase, result=body.result, errors=errors, at=body.at)
