"""How every upgrade ends, whatever its strategy: verified, baked, confirmed, and only then the old version leaves."""

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Analyse, Retire, Stage, Verify


def ending(spec: DeploymentSpec, *, retire: str) -> tuple[Stage, ...]:
    """`retire` names the last stage."""
    stages: list[Stage] = []
    if spec.verify:
        stages.append(Verify(name="verify"))
    if spec.bake_seconds > 0:
        stages.append(Analyse(name="bake", seconds=spec.bake_seconds, bake=True))
    if spec.confirm_seconds is not None:
        stages.append(Analyse(name="confirm", seconds=spec.confirm_seconds, bake=True, confirm=True))
    stages.append(Retire(name=retire, target="stable"))
    return tuple(stages)
