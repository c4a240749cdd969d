"""The analysis of a deployment as the API shows it: service values in, response models out; pure."""

from agent_servicing.core.analysis import Judgement
from agent_servicing.services.analysis import AnalysisReport, Moment, Trial
from agent_servicing.store.blocks import StoredBlock
from agent_servicing.web.schemas.analysis import AnalysisView, BlockView, MomentView, ReplayView, SideOfBlockView, TrialView
from agent_servicing.web.schemas.deployments import JudgementView
from agent_servicing.web.views.deployments import policy_view


def analysis_view(report: AnalysisReport) -> AnalysisView:
    deployment = report.deployment
    return AnalysisView(
        upgrade_id=deployment.deployment,
        agent_id=deployment.agent,
        auto_rollback=policy_view(deployment.spec.policy),
        overridden_by=deployment.overridden_by,
        judgement=_judgement(deployment.judgement),
        replay=ReplayView(blocks=report.replay.blocks, identical=report.replay.identical, judgement=_judgement(report.replay.judgement)),
        blocks=[_block(stored) for stored in report.page],
        next_cursor=report.next_cursor,
    )


def trial_view(deployment: str, trial: Trial) -> TrialView:
    return TrialView(
        upgrade_id=deployment,
        auto_rollback=policy_view(trial.policy),
        blocks=trial.blocks,
        first_failing=_moment(trial.first_failing),
        first_passing=_moment(trial.first_passing),
        last=_judgement(trial.last),
    )


def _block(stored: StoredBlock) -> BlockView:
    block = stored.block
    sides = ("candidate_new", "candidate_pinned", "stable_new", "stable_pinned")
    return BlockView(
        number=block.number,
        begun_anew=stored.begun_anew,
        seconds=round(block.seconds, 3),
        share=block.share,
        warm_up=block.warm_up,
        **{side: SideOfBlockView.model_validate(getattr(block, side)) for side in sides},
    )


def _moment(moment: Moment | None) -> MomentView | None:
    if moment is None:
        return None
    return MomentView(block=moment.block, seconds=moment.seconds, judgement=JudgementView.model_validate(moment.judgement))


def _judgement(judgement: Judgement | None) -> JudgementView | None:
    return JudgementView.model_validate(judgement) if judgement is not None else None
