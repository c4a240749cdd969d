"""The few primitives that every strategy compiles to, and the record of how far each has come."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent_servicing.core.status import StageStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Install the candidate's artifact and start its instances, `percent` of the agent's own number; done when every one is running."""

    name: str
    percent: float = 100.0
    kind: Literal["launch"] = "launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHealth:
    """Done when every instance wanted of the candidate so far has been healthy for as long as its manifest asks."""

    name: str
    kind: Literal["check_health"] = "check_health"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTraffic:
    """Give the candidate `percent` of new requests; done when the data plane says so and the measured share agrees.

    `move_conversations` takes the open conversations along at their next request: a rollback does, an upgrade lets them end where they began.
    """

    name: str
    percent: float
    move_conversations: bool = False
    kind: Literal["set_traffic"] = "set_traffic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Move one part over: the candidate grows to `percent` of the instances, gets that share, and the stable side shrinks behind it.

    Capacity leads traffic up and trails it down. `spare` bounds how many stable instances may leave meanwhile, so that an unproven
    candidate can be taken back at once; None means as many as the traffic allows.
    """

    name: str
    percent: float
    spare: int | None = None
    kind: Literal["replace"] = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyse:
    """Watch for `seconds` and up to `until`, then go on only with a verdict that allows it. `bake` marks the watch after 100 %.

    With `confirm` no verdict goes on: an operator does, by a promote, or the deployment is taken back when the time is over.
    """

    name: str
    seconds: float
    until: datetime | None = None
    bake: bool = False
    confirm: bool = False
    kind: Literal["analyse"] = "analyse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Run the version's own smoke tests and requests against the agent's address, now that the version answers there."""

    name: str
    kind: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Take the other generation out of service: no new conversations, verified by the counters; its instances leave when drained.

    `target` says who leaves: `stable` at the end of an upgrade (the candidate becomes stable), `candidate` when rolling back.
    """

    name: str
    target: Literal["stable", "candidate"]
    kind: Literal["retire"] = "retire"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotState:
    """Keep a copy of the agent's state as the version that serves left it; done when it was read back. Nothing has changed before."""

    name: str
    kind: Literal["snapshot_state"] = "snapshot_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreState:
    """Unpack this snapshot into a state folder of its own, which the candidate's instances then use; done when every byte was checked."""

    name: str
    snapshot: str
    kind: Literal["restore_state"] = "restore_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertState:
    """Have the instances that leave convert what they wrote to an older schema. What cannot be converted stays as it is: nothing waits for it."""

    name: str
    schema: int
    target: Literal["stable", "candidate"]
    kind: Literal["convert_state"] = "convert_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """After a restore: what was written since the snapshot, by those who used the folder that was left, is counted, offered to the version
    that serves, and the rest kept.
    """

    name: str
    snapshot: str
    target: Literal["stable", "candidate"]
    kind: Literal["set_aside"] = "set_aside"


StateStage = SnapshotState | RestoreState | ConvertState | SetAside
"""Stages whose progress a driver of states tells."""

Stage = StateStage | Launch | CheckHealth | SetTraffic | Replace | Analyse | Verify | Retire


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage and what became of it. `note` is for people: what it waits for, or what it found.

    `unseen_seconds`: part of its time in which nobody looked, or which only the clock showed; no watch counts it.
    """

    stage: Stage
    status: StageStatus = StageStatus.PENDING
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline_at: datetime | None = None
    unseen_seconds: float = 0.0
    note: str = ""

    @property
    def duration_seconds(self) -> float | None:
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()

    def watch_seconds_left(self, now: datetime) -> float | None:
        """Of a watch under way: how long it is still to be watched, by its length and by its moment; 0 when only the verdict is missing.

        None of everything else, also of a confirmation, which no time lets go on. A clock that was set back lets no time pass.
        """
        if (
            not isinstance(self.stage, Analyse)
            or self.stage.confirm
            or self.status is not StageStatus.IN_PROGRESS
            or self.started_at is None
        ):
            return None
        seen = max(0.0, (now - self.started_at).total_seconds()) - self.unseen_seconds
        ahead = (self.stage.until - now).total_seconds() if self.stage.until is not None else 0.0
        return max(self.stage.seconds - seen, ahead, 0.0)
