"""The registry of strategies: each is one function from what was asked to the stages that do it. Nothing else knows a strategy by name."""

from collections.abc import Callable, Mapping

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Stage
from agent_servicing.core.strategies import blue_green, canary, replace, rollback, rolling

Compile = Callable[[DeploymentSpec, int], tuple[Stage, ...]]
"""The second argument is how many instances the agent has: batches are counted in it."""

UPGRADES: Mapping[str, Compile] = {
    "blue-green": blue_green.compile_stages,
    "canary": canary.compile_stages,
    "rolling": rolling.compile_stages,
}
"""What an operator may choose for an upgrade."""

STRATEGIES: Mapping[str, Compile] = {
    **UPGRADES,
    "rollback": rollback.compile_stages,
    "install": replace.compile_stages,
    "restart": replace.compile_stages,
}
