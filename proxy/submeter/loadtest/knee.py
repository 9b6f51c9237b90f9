"""The throughput-latency curve of rising rates, and where it bends.

Below the knee a server answers as much as is asked; above it, as much as it can. So the knee is where the line
"achieved = offered" meets the plateau (the operational law of asymptotic bounds: Lazowska et al., Quantitative System
Performance, 1984, ch. 5). Latency only describes it: it rises before the knee, and how far depends on patience.
"""

from collections.abc import Sequence
from statistics import median

import msgspec

SUSTAINED = 0.95
"""Of what was offered. Less can be chance where calls are few, so a step counts as saturated only if no step achieved
so much: one slow stretch at a low rate is no plateau."""


class Step(msgspec.Struct, frozen=True):
    """One rate, held for a while: calls per second, ms."""

    offered_per_s: float
    achieved_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Knee(msgspec.Struct, frozen=True):
    """``rate_per_s``: what the server can do. ``at``: the last step that it sustained."""

    rate_per_s: float
    at: Step | None


class NoKnee(msgspec.Struct, frozen=True):
    reason: str


def knee(steps: Sequence[Step]) -> Knee | NoKnee:
    """Steps in any order; a rate may be there several times."""
    rising = sorted((step for step in steps if step.offered_per_s > 0), key=lambda step: step.offered_per_s)
    if not rising:
        return NoKnee("there are no steps")
    most = max(step.achieved_per_s for step in rising)
    over = [step for step in rising if SUSTAINED * step.offered_per_s > most]
    if not over:
        top = rising[-1].offered_per_s
        return NoKnee(f"never saturated: {top:g} calls/s were answered as fast as they were asked; offer more")
    below = rising[: -len(over)]
    sustained = [step for step in below if step.achieved_per_s >= SUSTAINED * step.offered_per_s]
    plateau = median(step.achieved_per_s for step in over)
    if not sustained:
        return Knee(plateau, None)
    return Knee(max(plateau, sustained[-1].achieved_per_s), sustained[-1])
