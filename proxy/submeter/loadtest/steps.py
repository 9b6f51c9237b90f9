"""The stretches of an open loop: what was asked of the target in each, what it answered, and the knee among them."""

from array import array
from collections.abc import Sequence
from itertools import accumulate
from math import nan
from statistics import fmean

import msgspec

from submeter.core.latency import percentiles
from submeter.loadtest.knee import NoKnee, Step, knee
from submeter.loadtest.order import from_schedule_ns
from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import NS_PER_S, Scenario


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """Latency is end to end from the schedule, of the calls that were due in the step and ended well."""

    rate_per_s: float
    """Asked for."""
    throughput_per_s: float
    """Answers that ended in the step, a second."""
    calls: int
    errors: int
    concurrency: float
    """Calls in flight, as those of the step found them when they began: the mean, each call itself included."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class KneeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The knee of latency over load, as ``result.json`` has it."""

    rate_per_s: float | None
    """What the target can answer; ``None``: it was not found."""
    concurrency: float | None
    """Calls in flight in the last step that it sustained."""
    why: str
    """For people: where it is, or why it is not known."""


def by_step(scenario: Scenario, samples: Sequence[Sample]) -> list[StepResult]:
    """One for each step in which a call was due; none of a closed loop."""
    ends_s = list(accumulate(step.for_s for step in scenario.steps))
    found = []
    for step, end_s in zip(scenario.steps, ends_s, strict=True):
        begin_ns, end_ns = round((end_s - step.for_s) * NS_PER_S), round(end_s * NS_PER_S)
        due = [each for each in samples if each.scheduled_ns is not None and begin_ns <= each.scheduled_ns < end_ns]
        if due:
            ended = sum(begin_ns <= at_ns < end_ns for at_ns in map(_ended_ns, samples) if at_ns is not None)
            found.append(_result(step.rate_per_s, ended / step.for_s, due))
    return found


def knee_of(steps: Sequence[StepResult]) -> KneeResult | None:
    """``None``: a closed loop, which has no steps."""
    if not steps:
        return None
    found = knee([_measured(step) for step in steps])
    if isinstance(found, NoKnee):
        return KneeResult(rate_per_s=None, concurrency=None, why=found.reason)
    if found.at is None:
        lowest = min(step.rate_per_s for step in steps)
        return KneeResult(
            rate_per_s=found.rate_per_s,
            concurrency=None,
            why=f"saturated from the first step on: {lowest:g} calls/s were too many; offer less",
        )
    at = found.at.offered_per_s, found.at.achieved_per_s
    held = next(step for step in steps if (step.rate_per_s, step.throughput_per_s) == at)
    why = f"{held.rate_per_s:g} calls/s were the last that were answered as fast as they were asked"
    return KneeResult(rate_per_s=found.rate_per_s, concurrency=held.concurrency, why=why)


def _measured(step: StepResult) -> Step:
    """Latency has no say in where the knee is, and may be missing where all calls failed."""
    p50_ms, p95_ms, p99_ms = (nan if ms is None else ms for ms in (step.p50_ms, step.p95_ms, step.p99_ms))
    return Step(step.rate_per_s, step.throughput_per_s, p50_ms, p95_ms, p99_ms)


def _result(rate_per_s: float, throughput_per_s: float, due: list[Sample]) -> StepResult:
    well = [each for each in due if each.error is None]
    durations = [ns for ns in map(from_schedule_ns, well) if ns is not None]
    latency = percentiles(array("q", durations))
    return StepResult(
        rate_per_s=rate_per_s,
        throughput_per_s=throughput_per_s,
        calls=len(due),
        errors=len(due) - len(well),
        concurrency=fmean(each.concurrency for each in due),
        p50_ms=None if latency is None else latency.p50_ns / 1e6,
        p95_ms=None if latency is None else latency.p95_ns / 1e6,
        p99_ms=None if latency is None else latency.p99_ns / 1e6,
    )


def _ended_ns(sample: Sample) -> int | None:
    """``None``: not well."""
    return None if sample.error is not None or sample.e2e_ns is None else sample.started_ns + sample.e2e_ns
