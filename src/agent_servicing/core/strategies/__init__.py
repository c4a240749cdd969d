"""The registry of strategies: each is one function from what was asked to the stages that do it. Nothing else knows a strategy by name."""

from collections.abc import Callable, Mapping

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import SnapshotState, Stage
from agent_servicing.core.strategies import blue_green, canary, replace, rollback, rolling

Compile = Callable[[DeploymentSpec, int], tuple[Stage, ...]]
"""The second argument is how many instances the agent has: batches are counted in it."""


def _after_a_snapshot(strategy: Compile) -> Compile:
    """The state is copied first when that was asked for: whatever the strategy does, there is something to go back to."""

    def compile_stages(spec: DeploymentSpec, instances: int) -> tuple[Stage, ...]:
        first = (SnapshotState(name="snapshot_state"),) if spec.snapshot else ()
        return (*first, *strategy(spec, instances))

    return compile_stages


UPGRADES: Mapping[str, Compile] = {
    name: _after_a_snapshot(strategy)
    for name, strategy in {
        "blue-green": blue_green.compile_stages,
        "canary": canary.compile_stages,
        "rolling": rolling.compile_stages,
    }.items()
}
"""What an operator may choose for an upgrade."""

STRATEGIES: Mapping[str, Compile] = {
    **UPGRADES,
    "rollback": rollback.compile_stages,
    "install": replace.compile_stages,
    "restart": replace.compile_stages,
}
