"""The registry of strategies: each is one function from what was asked to the stages that do it. Nothing else knows a strategy by name."""

from collections.abc import Callable, Mapping

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Stage
from agent_servicing.core.strategies import blue_green, replace, rollback

Compile = Callable[[DeploymentSpec], tuple[Stage, ...]]

UPGRADES: Mapping[str, Compile] = {"blue-green": blue_green.compile_stages}
"""What an operator may choose for an upgrade."""

STRATEGIES: Mapping[str, Compile] = {
    **UPGRADES,
    "rollback": rollback.compile_stages,
    "install": replace.compile_stages,
    "restart": replace.compile_stages,
}
