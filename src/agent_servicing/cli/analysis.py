"""The command `analysis`: the evidence behind a deployment's verdict, and what other limits would have said. `main` registers it."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.deployments import find, given
from agent_servicing.cli.output import facts, table
from agent_servicing.cli.progress import headline
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import duration, number

TRY: Final = "Try other limits"


def _option(name: str, text: str, metavar: str) -> Any:
    return typer.Option(name, rich_help_panel=TRY, help=text, metavar=metavar)


def analysis(
    session: Session,
    deployment: options.Deployment,
    error_rate_threshold: Annotated[float | None, _option("--error-rate-threshold", "Roll back above so many percent errors", "%")] = None,
    latency_threshold_ms: Annotated[float | None, _option("--latency-threshold-ms", "Roll back when latency is above", "MS")] = None,
    latency_quantile: Annotated[float | None, _option("--latency-quantile", "Which latency: 0.95 is p95", "Q")] = None,
    promote_error_rate: Annotated[float | None, _option("--promote-error-rate", "Below so many percent errors it is fine", "%")] = None,
    promote_latency_ms: Annotated[float | None, _option("--promote-latency-ms", "Below this latency it is fine", "MS")] = None,
    min_requests: Annotated[int | None, _option("--min-requests", "Fewer requests than this are no verdict", "N")] = None,
) -> None:
    """Show what a deployment's verdict rests on. With limits: what they would have said of the same traffic; nothing is changed."""
    agent = str(find(session.api, deployment).get("agent_id", ""))
    limits = given(
        error_rate_threshold=error_rate_threshold,
        latency_threshold_ms=latency_threshold_ms,
        latency_quantile=latency_quantile,
        promote_error_rate=promote_error_rate,
        promote_latency_ms=promote_latency_ms,
        min_requests=min_requests,
    )
    if limits:
        trial = session.api.try_limits(agent, deployment, limits)
        session.out.result(trial, lambda: facts(tuple(_tried(trial))))
        return
    report = session.api.analysis(agent, deployment)
    view = session.api.deployment(agent, deployment)
    judgement = report.get("judgement") or {}
    session.out.result(
        report,
        lambda: facts(tuple(_told(view, report, judgement))),
        lambda: "",
        lambda: table(("evidence", "odds", "needed"), list(_bars(judgement))),
    )


def _told(view: Json, report: Json, judgement: Json) -> Iterator[tuple[str, object]]:
    replay = report.get("replay") or {}
    words = {True: "leads to the same evidence, number for number", False: "leads to OTHER evidence than is held"}
    same = words[bool(replay["identical"])] if replay.get("identical") is not None else None
    yield "deployment", headline(view)
    yield "verdict", str(judgement.get("verdict") or "none yet").replace("_", " ")
    yield "because", judgement.get("sentence")
    yield "rule", str(judgement.get("rule") or "").replace("_", " ") or None
    yield "requests", judgement.get("requests")
    yield "over", duration(judgement.get("window_seconds"))
    yield "missing", judgement.get("missing_requests")
    yield "overridden by", report.get("overridden_by")
    yield "replay", f"{replay.get('blocks', 0)} blocks{f': {same}' if same else ''}"


def _bars(judgement: Json) -> Iterator[tuple[object, ...]]:
    for bar in judgement.get("evidence") or ():
        yield str(bar.get("name", "")).replace("_", " "), f"{number(bar.get('odds'), '', 1) or '0'}:1", f"{number(bar.get('needed'))}:1"


def _tried(trial: Json) -> Iterator[tuple[str, object]]:
    yield "blocks", trial.get("blocks")
    for what, name in (("first_failing", "would have failed"), ("first_passing", "would have passed")):
        moment = trial.get(what)
        yield name, f"after {duration(moment['seconds'])}: {moment['judgement']['sentence']}" if moment else "never"
    last = trial.get("last") or {}
    yield "at the end", f"{str(last.get('verdict', 'no data')).replace('_', ' ')}: {last.get('sentence', '')}"
