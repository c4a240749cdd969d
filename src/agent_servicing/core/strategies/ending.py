"""How every upgrade ends, whatever its strategy: verified, baked, confirmed, and only then the old version leaves."""

from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.stages import Analyse, Retire, Stage, Verify


def ending(spec: DeploymentSpec, *, retire: str) -> tuple[Stage, ...]:
    """`retire` names the last stage."""
    stages: list[Stage] = []
    if spec.verify:
        stages.append(Verify(name="verify"))
    if spec.bake_seconds > 0 or spec.bake_until is not None:
        stages.append(Analyse(name="bake", seconds=spec.bake_seconds, until=spec.bake_until, bake=True))
    if spec.confirm_seconds is not None or spec.confirm_until is not None:
        stages.append(Analyse(name="confirm", seconds=spec.confirm_seconds or 0.0, until=spec.confirm_until, bake=True, confirm=True))
    stages.append(Retire(name=retire, target="stable"))
    return tuple(stages)
