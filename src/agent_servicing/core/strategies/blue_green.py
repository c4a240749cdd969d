"""Blue-green: the new version stands beside the old one and takes over in steps, each watched before the next."""

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Analyse, CheckHealth, Launch, SetTraffic, Stage
from agent_servicing.core.strategies.ending import ending


def compile_stages(spec: DeploymentSpec, instances: int) -> tuple[Stage, ...]:  # noqa: ARG001  (all of them, however many)
    stages: list[Stage] = [Launch(name="deploy_green"), CheckHealth(name="health_check_green")]
    for percent in spec.steps:
        stages.append(SetTraffic(name=f"route_traffic_{percent:g}", percent=percent))
        if percent < 100 and spec.monitor_seconds > 0:
            stages.append(Analyse(name=f"monitor_metrics_{percent:g}", seconds=spec.monitor_seconds))
    return (*stages, *ending(spec, retire="decommission_blue"))
