"""Rolling: instances are replaced batch by batch, a new one healthy before an old one goes, so that never fewer serve than before."""

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Analyse, CheckHealth, Launch, Replace, Stage
from agent_servicing.core.strategies.batches import batches
from agent_servicing.core.strategies.ending import ending


def compile_stages(spec: DeploymentSpec, instances: int) -> tuple[Stage, ...]:
    parts = batches(instances, spec.batch_size, spec.batch_percent).after()
    stages: list[Stage] = [Launch(name="deploy_batch_1", percent=parts[0]), CheckHealth(name="health_check_batch_1")]
    for number, percent in enumerate(parts, start=1):
        stages.append(Replace(name=f"replace_batch_{number}_of_{len(parts)}", percent=percent))
        if percent < 100 and spec.pause_seconds > 0:
            stages.append(Analyse(name=f"pause_after_batch_{number}", seconds=spec.pause_seconds))
    return (*stages, *ending(spec, retire="decommission_old"))
