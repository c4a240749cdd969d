"""Rollback: the earlier version takes everything back at once, conversations included; readiness is its only gate."""

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import CheckHealth, Launch, Retire, SetTraffic, Stage


def compile_stages(spec: DeploymentSpec, instances: int) -> tuple[Stage, ...]:  # noqa: ARG001  (the registry's signature; a rollback has no options)
    return (
        Launch(name="deploy_target"),
        CheckHealth(name="health_check_target"),
        SetTraffic(name="route_traffic_100", percent=100, move_conversations=True),
        Retire(name="decommission_current", target="stable"),
    )


def abort_stages() -> tuple[Stage, ...]:
    """What any deployment does when it is taken back half-way: traffic first, then the newcomer leaves."""
    return (
        SetTraffic(name="route_traffic_0", percent=0, move_conversations=True),
        Retire(name="decommission_candidate", target="candidate"),
    )
