"""Canary: a few instances of the new version get a small share and are watched; once they pass, the rest follows in batches."""

from agent_servicing.core.capacity import places
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Analyse, CheckHealth, Launch, Replace, Stage
from agent_servicing.core.strategies.batches import batches
from agent_servicing.core.strategies.ending import ending

UNPROVEN_SPARE = 1
"""So many stable instances may leave while the canary is unproven: one, so that taking it back needs no start."""

PROMOTION_BATCH_PERCENT = 34.0
"""What follows at once after a passing verdict when nothing else is asked: three batches at most."""


def compile_stages(spec: DeploymentSpec, instances: int) -> tuple[Stage, ...]:
    percent = spec.percent
    stages: list[Stage] = [
        Launch(name="deploy_canary", percent=percent),
        CheckHealth(name="health_check_canary"),
        Replace(name=f"route_traffic_{percent:g}", percent=percent, spare=UNPROVEN_SPARE),
    ]
    if spec.monitor_seconds > 0:
        stages.append(Analyse(name=f"monitor_metrics_{percent:g}", seconds=spec.monitor_seconds))
    percent_at_once = spec.batch_percent or PROMOTION_BATCH_PERCENT
    rest = batches(instances, spec.batch_size, percent_at_once).after(places(instances, percent))
    for number, upto in enumerate(rest, start=1):
        stages.append(Replace(name=f"promote_batch_{number}_of_{len(rest)}", percent=upto))
        if upto < 100 and spec.pause_seconds > 0:
            stages.append(Analyse(name=f"monitor_batch_{number}", seconds=spec.pause_seconds))
    return (*stages, *ending(spec, retire="decommission_baseline"))
