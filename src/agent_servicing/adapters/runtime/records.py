"""What the runtime writes down about each instance (`instance.json`), so that a later server finds again what an earlier one started."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from agent_servicing.adapters.runtime.procfs import Identity, Stray
from agent_servicing.core.model import Process

FORMAT = 1
"""Raised when a field changes its meaning; unknown formats are set aside, not guessed at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One instance from its start until it is forgotten. `identity` None: its command could not be run at all. `limited`: we set what its
    processes may use; what an agent does about its own limits is none of ours before that.
    """

    agent: str
    instance: str
    version: str
    generation: int
    host: str
    port: int
    token: str
    config_file: str
    identity: Identity | None
    started_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None
    last_output: str = ""
    limited: bool = False

    def process(self) -> Process:
        """As the port shows it."""
        return Process(
            instance=self.instance,
            generation=self.generation,
            version=self.version,
            alive=self.ended_at is None,
            host=self.host,
            port=self.port,
            pid=self.identity.pid if self.identity else None,
            started_at=self.started_at,
            exit_code=self.exit_code,
            last_output=self.last_output,
        )

    def ended(self, at: datetime, *, exit_code: int | None, last_output: str = "") -> "Record":
        return replace(self, ended_at=at, exit_code=exit_code, last_output=last_output)


def to_json(record: Record) -> str:
    """Without what it printed last: that may hold a secret, and stands in its log anyway."""
    values = asdict(record)
    values.pop("last_output")
    values["started_at"] = record.started_at.isoformat()
    values["ended_at"] = record.ended_at.isoformat() if record.ended_at else None
    return json.dumps({"format": FORMAT, **values}, indent=2) + "\n"


def from_json(text: str) -> Record:
    """Raises `ValueError` when it is not a record of this format."""
    try:
        values = json.loads(text)
        _check_format(values.pop("format"))
        identity = values.pop("identity")
        ended_at = values.pop("ended_at")
        return Record(
            **{
                **values,
                "identity": Identity(**identity) if identity else None,
                "started_at": datetime.fromisoformat(values["started_at"]),
                "ended_at": datetime.fromisoformat(ended_at) if ended_at else None,
            }
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not an instance record: {error}") from error


def _check_format(number: object) -> None:
    if number != FORMAT:
        raise ValueError(f"format {number} instead of {FORMAT}")


def from_stray(stray: Stray, now: datetime) -> Record:
    """The record of a running process that has none, from the marks in its environment. Raises `ValueError` when they are not complete."""
    marks: Mapping[str, str] = stray.environ
    try:
        agent, _, instance = marks["SERVICING_INSTANCE_ID"].partition("/")
        return Record(
            agent=agent,
            instance=instance,
            version=marks["SERVICING_VERSION"],
            generation=int(marks["SERVICING_GENERATION"]),
            host=marks["HOST"],
            port=int(marks["PORT"]),
            token=marks["SERVICING_INSTANCE_TOKEN"],
            config_file=marks["SERVICING_CONFIG_FILE"],
            identity=stray.identity,
            started_at=now - timedelta(seconds=stray.age_seconds),
        )
    except KeyError as error:
        raise ValueError(f"{error} is missing in its environment") from error
