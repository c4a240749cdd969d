"""From the service's distributions to the summary of reported metrics."""

from itertools import groupby

from agent_servicing.services.reports import ReportsSummary
from agent_servicing.store.reports import Distribution
from agent_servicing.web.schemas.reports import ReportedGeneration, ReportedInstance, ReportedMetric, ReportsView


def reports_view(summary: ReportsSummary) -> ReportsView:
    instances: dict[tuple[str, int], list[ReportedInstance]] = {}
    for found in summary.instances:
        instances.setdefault((found.metric, found.generation), []).append(ReportedInstance.model_validate(found))

    def generation(found: Distribution) -> ReportedGeneration:
        return ReportedGeneration(
            generation=found.generation,
            version=summary.versions.get(found.generation),
            count=found.count,
            mean=found.mean,
            p50=found.p50,
            p95=found.p95,
            last=found.last,
            last_at=found.last_at,
            instances=instances.get((found.metric, found.generation), []),
        )

    return ReportsView(
        agent_id=summary.agent,
        window_seconds=summary.window_seconds,
        metrics=[
            ReportedMetric(metric=metric, generations=[generation(each) for each in group])
            for metric, group in groupby(summary.generations, key=lambda found: found.metric)
        ],
        truncated=summary.truncated,
    )
