"""What an operator should know about a strategy on this very agent: what is impossible and what will be done instead. Used by `planning`."""

from collections.abc import Iterator

from agent_servicing.core.capacity import places
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.strategies.batches import batches

ROUNDED_POINTS = 10.0
"""A canary that is so many percentage points larger than asked, because instances are whole, is worth a word."""


def strategy_warnings(spec: DeploymentSpec, instances: int) -> Iterator[str]:
    match spec.strategy:
        case "canary":
            yield from _canary(spec, instances)
        case "rolling":
            yield from _rolling(spec, instances)
        case _:
            pass
    if spec.strategy != "rolling" and spec.monitor_seconds == 0:
        yield "The monitor time is 0: nothing but health is looked at before the next step."
    if spec.control_percent > 0 and spec.bake_seconds == 0 and spec.bake_until is None:
        yield "There is no bake: nothing stays with the old version as a control."
    if spec.confirm_until is not None:
        yield f"It goes back by itself at {spec.confirm_until:%Y-%m-%d %H:%M:%S %Z}, unless somebody confirms it with promote."
    elif spec.confirm_seconds is not None:
        yield f"It goes back by itself {spec.confirm_seconds:g} s after it has all traffic, unless somebody confirms it with promote."


def _canary(spec: DeploymentSpec, instances: int) -> Iterator[str]:
    new = places(instances, spec.percent)
    if instances == 1:
        yield f"There is one instance: the canary is a second one beside it and gets {spec.percent:g} % of the requests."
    elif new == instances:
        yield f"{spec.percent:g} % of {instances} instances is all of them: this canary is as large as the agent."
    elif 100 * new / instances >= spec.percent + ROUNDED_POINTS:
        yield f"{spec.percent:g} % of {instances} instances is rounded up to {new}; it still gets {spec.percent:g} % of the requests."


def _rolling(spec: DeploymentSpec, instances: int) -> Iterator[str]:
    size = batches(instances, spec.batch_size, spec.batch_percent).size
    if instances == 1:
        yield "There is one instance: the new one starts beside it and takes over before it leaves."
    elif size == instances:
        yield f"One batch holds all {instances} instances: they are replaced in one step."
    if spec.pause_seconds == 0:
        yield "There is no pause between batches: the watch goes on beside them, and may speak only after the last one."
