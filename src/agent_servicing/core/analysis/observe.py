"""From readings to evidence, live and again. The engine calls `observe` at each reading; whoever doubts a verdict calls `replay`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from agent_servicing.core.analysis.blocks import Block, Reading, block_of, merged
from agent_servicing.core.analysis.evidence import Evidence, begin
from agent_servicing.core.analysis.policy import Policy
from agent_servicing.core.analysis.update import apply


def observe(evidence: Evidence, reading: Reading, policy: Policy, *, closing: bool = False) -> tuple[Evidence, Block | None]:
    """Evidence after one more reading, and the block that it closed, if any.

    Pass `closing` with the last reading of a share. Should the share have changed without it, what is open is closed without this reading.
    During the warm-up every reading with requests of the candidate ends a block: a version that fails everything must be noticed at once.
    """
    fresh, pending = block_of(reading, number=evidence.blocks, warm_up=evidence.warming), evidence.open
    if pending is not None and pending.share != fresh.share:
        after = apply(evidence, pending, policy)
        return replace(after, open=replace(fresh, number=after.blocks, warm_up=after.warming)), pending
    grown = fresh if pending is None else merged(pending, fresh)
    eager = evidence.warming and (grown.candidate_routed or grown.candidate_answered)
    if closing or grown.full or eager:
        return apply(evidence, grown, policy), grown
    return replace(evidence, open=grown), None


def replay(blocks: Iterable[Block], policy: Policy, warmup_seconds: float) -> Evidence:
    """The evidence that these blocks left behind, bit for bit as it was when the last of them was closed."""
    evidence = begin(policy, warmup_seconds)
    for after in retrace(blocks, policy, warmup_seconds):
        evidence = after
    return evidence


def retrace(blocks: Iterable[Block], policy: Policy, warmup_seconds: float) -> Iterator[Evidence]:
    """The evidence after each of these blocks in turn; with another policy, what that would have made of them."""
    evidence = begin(policy, warmup_seconds)
    for block in blocks:
        evidence = apply(evidence, block, policy)
        yield evidence
