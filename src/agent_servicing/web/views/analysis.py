"""The analysis of a deployment as the API shows it: service values in, response models out; pure."""

from agent_servicing.core.analysis import Judgement
from agent_servicing.services.analysis import AnalysisReport, Moment, Trial
from agent_servicing.services.course import Course, Point
from agent_servicing.store.blocks import StoredBlock
from agent_servicing.web.schemas.analysis import (
    AnalysisView,
    BlockView,
    CourseView,
    MomentView,
    PointView,
    ReplayView,
    SideOfBlockView,
    TrialView,
)
from agent_servicing.web.schemas.deployments import JudgementView
from agent_servicing.web.views.deployments import figures_view, policy_view


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


def course_view(agent: str, deployment: str, found: Course) -> CourseView:
    return CourseView(
        upgrade_id=deployment,
        agent_id=agent,
        decided_at=found.decided_at,
        decided=_point(found.decided) if found.decided is not None else None,
        points=[_point(point) for point in found.points],
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
        at=stored.at,
        seconds=round(block.seconds, 3),
        share=block.share,
        warm_up=block.warm_up,
        **{side: SideOfBlockView.model_validate(getattr(block, side)) for side in sides},
    )


def _point(point: Point) -> PointView:
    return PointView(
        at=point.at,
        seconds=round(point.seconds, 3),
        traffic_percent=point.share,
        blue=figures_view(point.stable, point.seconds),
        green=figures_view(point.candidate, point.seconds),
    )


def _moment(moment: Moment | None) -> MomentView | None:
    if moment is None:
        return None
    return MomentView(block=moment.block, seconds=moment.seconds, judgement=JudgementView.model_validate(moment.judgement))


def _judgement(judgement: Judgement | None) -> JudgementView | None:
    return JudgementView.model_validate(judgement) if judgement is not None else None
