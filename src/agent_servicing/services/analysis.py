"""The analysis of a deployment, laid open: its evidence, the blocks it rests on, its figures over time, its replay, what other limits had said.

Called by `web`. Changes nothing: a deployment's own limits are set when it is asked for, and taken from it only by an override.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from anyio import to_thread

from agent_servicing.core.analysis import Block, Evidence, Judgement, Policy, replay, retrace, verdict
from agent_servicing.core.draft import BLOCKS_STORED
from agent_servicing.core.errors import FieldError, Invalid, NotFound
from agent_servicing.core.judging import warmup_seconds
from agent_servicing.core.model import Deployment
from agent_servicing.core.status import Verdict
from agent_servicing.services.audit_logger import number_of
from agent_servicing.services.course import Course, course
from agent_servicing.services.specs import limit_problems
from agent_servicing.store import queries
from agent_servicing.store.blocks import StoredBlock, block_page, last_evidence
from agent_servicing.store.database import Database

BLOCKS_PAGE_MAX: Final = 1_000
"""Blocks in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """`identical`: the stored blocks lead to the very evidence that the deployment holds, number for number. None: nothing to compare."""

    blocks: int
    identical: bool | None
    judgement: Judgement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisReport:
    """`page` are blocks from all of the deployment's evidence, oldest first."""

    deployment: Deployment
    replay: Replay
    page: tuple[StoredBlock, ...] = ()
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A verdict, and how far into the evidence it came."""

    block: int
    seconds: float
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What these limits would have said: the first failing and the first passing verdict, if any, and the one at the end."""

    policy: Policy
    blocks: int
    first_failing: Moment | None
    first_passing: Moment | None
    last: Judgement | None


class Analysis:
    """Use cases on the evidence of one deployment. Raises NotFound `unknown_deployment`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def report(self, agent: str, deployment: str, *, limit: int = 100, cursor: str | None = None) -> AnalysisReport:
        """Its evidence and its replay, with up to `limit` (1–1000) blocks."""
        if not 1 <= limit <= BLOCKS_PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {BLOCKS_PAGE_MAX}.", code="bad_limit")
        after = number_of(cursor) if cursor is not None else 0
        async with self._database.read() as connection:
            found = await self._found(await queries.deployment(connection, deployment), agent, deployment)
            blocks = await last_evidence(connection, deployment)
            page = await block_page(connection, deployment, after=after, limit=limit + 1)
        replayed = await to_thread.run_sync(_replayed, found, blocks)
        more = len(page) > limit
        return AnalysisReport(
            deployment=found,
            replay=replayed,
            page=tuple(page[:limit]),
            next_cursor=str(page[limit - 1].number) if more else None,
        )

    async def course(self, agent: str, deployment: str) -> Course:
        """Its figures over time, also long after it ended."""
        async with self._database.read() as connection:
            found = await self._found(await queries.deployment(connection, deployment), agent, deployment)
            blocks = await block_page(connection, deployment, after=0, limit=BLOCKS_STORED)
        decided_at = found.trigger.at if found.trigger is not None else found.finished_at
        window = found.trigger.window_seconds if found.trigger is not None else None
        return await to_thread.run_sync(course, blocks, decided_at, window)

    async def trial(self, agent: str, deployment: str, changes: Mapping[str, object]) -> Trial:
        """The same traffic judged by other limits (`changes` to its policy). Raises Invalid `bad_value`."""
        async with self._database.read() as connection:
            found = await self._found(await queries.deployment(connection, deployment), agent, deployment)
            blocks = await last_evidence(connection, deployment)
        policy = replace(found.spec.policy, **changes)  # type: ignore[arg-type]
        _checked(policy)
        return await to_thread.run_sync(_tried, policy, warmup_seconds(found.spec), blocks)

    async def _found(self, found: Deployment | None, agent: str, deployment: str) -> Deployment:
        if found is None or found.agent != agent:
            raise NotFound(f"There is no deployment {deployment} of {agent}.", code="unknown_deployment")
        return found


def _replayed(deployment: Deployment, blocks: Sequence[Block]) -> Replay:
    if not blocks:
        return Replay(blocks=0, identical=None, judgement=None)
    policy = deployment.spec.policy
    evidence = replay(blocks, policy, warmup_seconds(deployment.spec))
    held = deployment.evidence
    whole = held is not None and held.blocks == len(blocks)
    identical = _closed(evidence) == _closed(held) if held is not None and whole else None
    return Replay(blocks=len(blocks), identical=identical, judgement=verdict(evidence, policy))


def _closed(evidence: Evidence) -> Evidence:
    """Without the block under way, which counts for nothing yet."""
    return replace(evidence, open=None)


def _tried(policy: Policy, warmup: float, blocks: Sequence[Block]) -> Trial:
    seconds = 0.0
    failing: Moment | None = None
    passing: Moment | None = None
    last: Judgement | None = None
    for number, (block, evidence) in enumerate(zip(blocks, retrace(blocks, policy, warmup), strict=True)):
        seconds += block.seconds
        last = verdict(evidence, policy)
        moment = Moment(block=number, seconds=round(seconds, 3), judgement=last)
        failing = moment if failing is None and last.verdict is Verdict.FAILING else failing
        passing = moment if passing is None and last.verdict is Verdict.PASSING else passing
    return Trial(policy=policy, blocks=len(blocks), first_failing=failing, first_passing=passing, last=last)


def _checked(policy: Policy) -> None:
    wrong = tuple(FieldError(path=path, message=message) for path, message in limit_problems(policy))
    if wrong:
        raise Invalid(f"{wrong[0].path} {wrong[0].message}.", errors=wrong, code="bad_value")
