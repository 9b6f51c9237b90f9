"""The planted capacity of a simulated M/G/c server is found; a curve that never bends has no knee."""

import heapq

import numpy as np
import pytest

from submeter.loadtest.knee import Knee, NoKnee, Step, knee

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


def test_a_curve_that_never_bends_has_no_knee_and_says_so() -> None:
    found = knee([step(rate, 1) for rate in (4, 8, 12)])
    assert isinstance(found, NoKnee)
    assert "never saturated" in found.reason
    assert knee([]) == NoKnee("there are no steps")


def test_saturated_from_the_start() -> None:
    assert knee([Step(40, 20, 1, 1, 1), Step(80, 20, 1, 1, 1)]) == Knee(20, None)
