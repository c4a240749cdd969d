"""What a stage does and how long it takes, for people. Used by `planning` before a deployment and by the API while it runs."""

from collections.abc import Sequence
from math import ceil
from typing import Final, assert_never

from agent_servicing.core.capacity import places
from agent_servicing.core.model import AgentState
from agent_servicing.core.stages import (
    Analyse,
    CheckHealth,
    ConvertState,
    Launch,
    Replace,
    RestoreState,
    Retire,
    SetAside,
    SetTraffic,
    SnapshotState,
    Stage,
    StateStage,
    Verify,
)

STAGE_SECONDS: Final = {
    "snapshot_state": 5.0,
    "restore_state": 5.0,
    "convert_state": 5.0,
    "set_aside": 5.0,
    "launch": 30.0,
    "check_health": 10.0,
    "set_traffic": 5.0,
    "replace": 15.0,
    "verify": 30.0,
    "retire": 10.0,
}
"""What stages without a length of their own usually take; an estimate for people."""


def estimated_minutes(stages: Sequence[Stage]) -> float:
    """How long it takes when every watch passes at once; rounded up to half minutes."""
    seconds = sum(stage.seconds if isinstance(stage, Analyse) else STAGE_SECONDS[stage.kind] for stage in stages)
    return ceil(seconds / 30) / 2


def sentence(stage: Stage, state: AgentState, target: str) -> str:
    """What the stage will do, for people."""
    instances, old = state.agent.instances, state.agent.version
    match stage:
        case SnapshotState() | RestoreState() | ConvertState() | SetAside():
            return _about_state(stage, old or "the old version", target)
        case Launch():
            return f"Install {target} and start {places(instances, stage.percent)} of it beside {old or 'nothing'}."
        case CheckHealth():
            return f"Wait until every new instance of {target} has been healthy for as long as its manifest asks."
        case SetTraffic():
            return f"Send {stage.percent:g} % of new requests to {target}, and measure that they arrive there."
        case Replace():
            return _replace(stage, instances, old, target)
        case Analyse():
            return _analyse(stage, target)
        case Verify():
            return f"Run the tests of {target} against its production address; take it back when one fails."
        case Retire():
            return f"Let {old or 'the old version'} finish what it has, then keep it warm for a while."
        case _:
            assert_never(stage)


def _about_state(stage: StateStage, old: str, target: str) -> str:
    match stage:
        case SnapshotState():
            return f"Copy the state that {old} keeps while it goes on serving; nothing else begins before that is done."
        case RestoreState():
            return (
                f"Unpack {stage.snapshot} into a folder of its own, for the new instances of {target} alone; the one in use stays as it is."
            )
        case ConvertState():
            return f"Have {old} convert what it wrote to state schema {stage.schema}."
        case SetAside():
            return f"Count what was written since {stage.snapshot}, offer it to {target}, and keep the rest."
        case _:
            assert_never(stage)


def _replace(stage: Replace, instances: int, old: str | None, target: str) -> str:
    new = places(instances, stage.percent)
    name = old or "the old version"
    behind = (
        f"; {name} shrinks behind it as its traffic leaves" if stage.spare is None else f"; at most {stage.spare} of {name} leaves for it"
    )
    return f"Have {new} of {instances} instances on {target}, healthy, with {stage.percent:g} % of new requests{behind}."


def _analyse(stage: Analyse, target: str) -> str:
    length = f"until {stage.until:%Y-%m-%d %H:%M:%S %Z}" if stage.until is not None else f"for {stage.seconds:g} s"
    if stage.confirm:
        return f"Wait {length} for somebody to confirm {target}; take it back otherwise."
    everything = " with all traffic" if stage.bake else ""
    return f"Watch {target} {length}{everything}; take it back if it is worse."
