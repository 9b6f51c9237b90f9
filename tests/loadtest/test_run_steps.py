"""The stretches of an open loop."""

import msgspec

from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import NS_PER_S, Scenario, Setting, Step
from submeter.loadtest.steps import by_step, knee_of

SCENARIO = Scenario(
    description="",
    settings=(Setting(input_tokens=22, output_tokens=1),),
    steps=(Step(2, 10), Step(4, 10), Step(8, 10)),
)
PLAIN = Sample(
    started_ns=0,
    scheduled_ns=0,
    setting="in=22,out=1",
    model="m",
    concurrency=1,
    input_tokens=22,
    cached_input_tokens=None,
    output_tokens=1,
    ttfb_ns=None,
    ttft_ns=None,
    first_content_ns=None,
    e2e_ns=NS_PER_S,
    max_gap_ns=None,
    status=200,
    error=None,
    call_id=None,
    request_id=None,
    streamed=True,
)


def due(at_s: float, late_s: float = 0, took_s: float = 1, **more: object) -> Sample:
    at_ns = round(at_s * NS_PER_S)
    times = {"started_ns": at_ns + round(late_s * NS_PER_S), "e2e_ns": round(took_s * NS_PER_S)}
    return msgspec.structs.replace(PLAIN, scheduled_ns=at_ns, **times, **more)


def test_latency_counts_from_the_schedule_and_throughput_at_the_end() -> None:
    samples = [due(1), due(5, late_s=2), due(9.5, took_s=2), due(12), due(13, error="status 429")]
    first, second = by_step(SCENARIO, samples)
    assert (first.rate_per_s, first.throughput_per_s, first.calls, first.errors) == (2, 0.2, 3, 0)
    assert (first.p50_ms, first.p95_ms) == (2000, 3000)
    # The third call was due in the first step and ended in the second.
    assert (second.rate_per_s, second.throughput_per_s, second.calls, second.errors) == (4, 0.2, 2, 1)
    assert second.p50_ms == 1000


def test_a_closed_loop_has_no_steps() -> None:
    closed = msgspec.structs.replace(SCENARIO, steps=())
    assert by_step(closed, [msgspec.structs.replace(PLAIN, scheduled_ns=None)]) == []
    assert knee_of([]) is None


def answered(step: int, per_s: int, **more: object) -> list[Sample]:
    """``per_s`` calls a second are due in a step, and end in it."""
    return [due(step * 10 + at / per_s, took_s=0.5, **more) for at in range(per_s * 9)]


def test_the_knee_is_the_plateau_and_what_was_in_flight_before_it() -> None:
    scenario = msgspec.structs.replace(SCENARIO, steps=(Step(1.8, 10), Step(3.6, 10), Step(8, 10)))
    samples = [*answered(0, 2, concurrency=1), *answered(1, 4, concurrency=3), *answered(2, 5, concurrency=40)]
    steps = by_step(scenario, samples)
    assert [(step.throughput_per_s, step.concurrency) for step in steps] == [(1.8, 1), (3.6, 3), (4.5, 40)]
    found = knee_of(steps)
    assert found is not None
    assert (found.rate_per_s, found.concurrency) == (4.5, 3)
    assert found.why == "3.6 calls/s were the last that were answered as fast as they were asked"


def test_a_target_that_was_never_saturated_has_no_knee() -> None:
    scenario = msgspec.structs.replace(SCENARIO, steps=(Step(1.8, 10),))
    found = knee_of(by_step(scenario, answered(0, 2)))
    assert found is not None
    assert (found.rate_per_s, found.concurrency) == (None, None)
    assert found.why.startswith("never saturated: 1.8 calls/s")


def test_a_step_in_which_all_calls_failed_is_over_the_knee() -> None:
    scenario = msgspec.structs.replace(SCENARIO, steps=(Step(1.8, 10), Step(3.6, 10)))
    found = knee_of(by_step(scenario, [*answered(0, 2), *answered(1, 4, error="status 429")]))
    assert found is not None
    assert (found.rate_per_s, found.concurrency) == (1.8, 1)
