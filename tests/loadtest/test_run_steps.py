"""The stretches of an open loop."""

import msgspec

from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import NS_PER_S, Scenario, Setting, Step
from submeter.loadtest.steps import by_step

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
