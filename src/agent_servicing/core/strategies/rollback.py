"""Rollback: the earlier version takes everything back at once, conversations included; readiness is its only gate."""

from agent_servicing.core.model import Deployment, DeploymentSpec
from agent_servicing.core.stages import CheckHealth, ConvertState, Launch, RestoreState, Retire, SetAside, SetTraffic, Stage
from agent_servicing.core.status import DeploymentKind


def compile_stages(spec: DeploymentSpec, instances: int) -> tuple[Stage, ...]:  # noqa: ARG001  (the registry's signature; all of them)
    stages: list[Stage] = []
    if spec.restore is not None:
        stages.append(RestoreState(name="restore_state", snapshot=spec.restore))
    elif spec.convert is not None:
        stages.append(ConvertState(name="convert_state", schema=spec.convert, target="stable"))
    stages += [
        Launch(name="deploy_target"),
        CheckHealth(name="health_check_target"),
        SetTraffic(name="route_traffic_100", percent=100, move_conversations=True),
        Retire(name="decommission_current", target="stable"),
    ]
    if spec.restore is not None:
        stages.append(SetAside(name="set_state_aside", snapshot=spec.restore, target="stable"))
    return tuple(stages)


def abort_stages(deployment: Deployment) -> tuple[Stage, ...]:
    """What any deployment does when it is taken back half-way: traffic first, then the newcomer leaves, and nothing it wrote is lost."""
    spec, stages = deployment.spec, list[Stage]()
    stages.append(SetTraffic(name="route_traffic_0", percent=0, move_conversations=True))
    if spec.convert is not None and deployment.kind is not DeploymentKind.ROLLBACK and not deployment.untouched:
        stages.append(ConvertState(name="convert_state_back", schema=spec.convert, target="candidate"))
    stages.append(Retire(name="decommission_candidate", target="candidate"))
    if spec.restore is not None and not deployment.untouched:
        stages.append(SetAside(name="set_state_aside", snapshot=spec.restore, target="candidate"))
    return tuple(stages)
