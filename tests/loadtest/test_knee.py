"""The planted capacity of simulated servers is found; a curve that never bends has no knee."""

import heapq

import numpy as np
import pytest

from submeter.loadtest.knee import Knee, NoKnee, Step, knee
from submeter.scripted.batching import Batch, Batching, saturation_rate

SERVERS, SERVICE_S = 8, 0.4
CAPACITY = SERVERS / SERVICE_S


def step(rate: float, seed: int, calls: int = 1500) -> Step:
    """Poisson arrivals, lognormal service, first come first served; achieved is counted until the last arrival."""
    chance = np.random.default_rng(seed)
    arrivals = np.cumsum(chance.exponential(1 / rate, calls))
    service = SERVICE_S * chance.lognormal(-(0.3**2) / 2, 0.3, calls)
    free = [0.0] * SERVERS
    ends = np.empty(calls)
    for n in range(calls):
        ends[n] = max(arrivals[n], heapq.heappop(free)) + service[n]
        heapq.heappush(free, ends[n])
    p50, p95, p99 = np.percentile(ends - arrivals, (50, 95, 99)) * 1000
    return Step(calls / arrivals[-1], int((ends <= arrivals[-1]).sum()) / arrivals[-1], p50, p95, p99)


@pytest.mark.parametrize("seed", range(10))
def test_the_planted_capacity_is_found_within_10_percent(seed: int) -> None:
    found = knee([step(rate, seed) for rate in (4, 8, 12, 16, 18, 22, 26, 32)])
    assert isinstance(found, Knee)
    assert found.rate_per_s == pytest.approx(CAPACITY, rel=0.10)
    assert found.at is not None
    assert found.at.offered_per_s < 1.1 * CAPACITY


DEVICES = [
    pytest.param(Batching(slots=8, step_ms=10), 500, 100, id="small"),
    pytest.param(
        Batching(slots=32, step_ms=12, step_ms_per_running=0.5, prefill_tokens_per_s=20_000), 500, 100, id="gpu"
    ),
    pytest.param(Batching(slots=64, step_ms=20, step_ms_per_running=0.2), 50, 20, id="wide"),
    pytest.param(Batching(slots=1, step_ms=5), 100, 50, id="one at a time"),
    pytest.param(Batching(slots=16, step_ms=8, prefill_tokens_per_s=4_000), 4000, 10, id="prefill decides"),
    pytest.param(Batching(slots=4, step_ms=30, step_ms_per_running=2), 200, 400, id="long answers"),
]


def stretches(device: Batching, input_tokens: int, output_tokens: int, rates: list[float], seed: int) -> list[Step]:
    """Rates one after another, as the scenario ``saturation`` has them: a queue goes over into the next stretch."""
    chance = np.random.default_rng(seed)
    stretch_s = max(40, 400 / rates[len(rates) // 2])  # 40 s as the scenario has, or enough calls to count
    arrivals = [
        round((number * stretch_s + at) * 1e9)
        for number, rate in enumerate(rates)
        for at in np.sort(chance.uniform(0, stretch_s, chance.poisson(rate * stretch_s)))
    ]
    left = [output_tokens] * len(arrivals)
    ends, batch = np.full(len(arrivals), np.inf), Batch(device)
    for number, at_ns in enumerate([*arrivals, round(len(rates) * stretch_s * 1e9)]):
        for token in batch.advance(at_ns):
            left[token.sequence] -= 1
            if left[token.sequence] == 0:
                ends[token.sequence] = token.at_ns / 1e9
        if number < len(arrivals):
            batch.join(number, at_ns, input_tokens=input_tokens, output_tokens=output_tokens)
    edges = np.arange(len(rates) + 1) * stretch_s
    ended = np.histogram(ends[np.isfinite(ends)], edges)[0] / stretch_s
    return [Step(rate, achieved, 0, 0, 0) for rate, achieved in zip(rates, ended, strict=True)]


@pytest.mark.parametrize(("device", "input_tokens", "output_tokens"), DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_the_saturation_of_a_batching_device_is_found_within_10_percent(
    device: Batching, input_tokens: int, output_tokens: int, seed: int
) -> None:
    truth = saturation_rate(device, input_tokens, output_tokens)
    rates = [truth * share for share in (0.2, 0.4, 0.6, 0.8, 1.2, 1.6)]
    found = knee(stretches(device, input_tokens, output_tokens, rates, seed))
    assert isinstance(found, Knee)
    assert found.rate_per_s == pytest.approx(truth, rel=0.10)
    assert found.at is not None
    assert found.at.offered_per_s < truth


def test_a_curve_that_never_bends_has_no_knee_and_says_so() -> None:
    found = knee([step(rate, 1) for rate in (4, 8, 12)])
    assert isinstance(found, NoKnee)
    assert "never saturated" in found.reason
    assert knee([]) == NoKnee("there are no steps")


def test_saturated_from_the_start() -> None:
    assert knee([Step(40, 20, 1, 1, 1), Step(80, 20, 1, 1, 1)]) == Knee(20, None)


def test_a_stretch_in_which_few_calls_happened_to_come_is_no_plateau() -> None:
    quiet, sustained = Step(4, 3, 1, 1, 1), Step(16, 16, 1, 1, 1)
    found = knee([quiet, Step(8, 8, 1, 1, 1), sustained, Step(24, 20, 1, 1, 1)])
    assert found == Knee(20, sustained)
