"""Is the new version worse than the old one? Counts in, verdict out; no clock and no network, so that every verdict can be replayed.

The engine (`core.conduct`) keeps an `Evidence` with each deployment, feeds it one `Reading` a second and asks for the `verdict`; it stores
the blocks that `observe` closes, and `replay` makes the same evidence from them again. What the judge looks at and why is told for
operators in docs/guides/analysis.md; the arithmetic is in `wealth`.
"""

from agent_servicing.core.analysis.blocks import SAMPLES_KEPT, Arm, Block, Cell, CustomCount, Reading, Sample, Tally
from agent_servicing.core.analysis.evidence import Criterion, Evidence, begin
from agent_servicing.core.analysis.judgement import EvidenceBar, Judgement
from agent_servicing.core.analysis.observe import observe, replay, retrace
from agent_servicing.core.analysis.policy import CustomMetric, Policy
from agent_servicing.core.analysis.verdict import verdict
from agent_servicing.core.analysis.worst import without_worst

__all__ = [
    "SAMPLES_KEPT",
    "Arm",
    "Block",
    "Cell",
    "Criterion",
    "CustomCount",
    "CustomMetric",
    "Evidence",
    "EvidenceBar",
    "Judgement",
    "Policy",
    "Reading",
    "Sample",
    "Tally",
    "begin",
    "observe",
    "replay",
    "retrace",
    "verdict",
    "without_worst",
]
