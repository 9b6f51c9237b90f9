"""The simulator that plans fleets, held against a device that was measured: real processes, sockets and clock.

The times are those of a machine at work, yet 10 % is no matter of luck: see ``harness.reality.Planted``. TPOT hardly
depends on anything but the device; TTFT gains the few ms between the relay and the device, of 200 and more.
Ten per cent tell much: a simulated device whose iterations are 4 ms (10 %) longer, or whose chunks, slots or cache have
another limit, fails.
"""

import pytest

from harness.reality import SHORT, Replayed, replay_busiest_hour

WITHIN = 0.1


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    return replay_busiest_hour(tmp_path_factory.mktemp("hour"), SHORT)


def test_each_call_of_the_hour_is_served_and_measured(replayed: Replayed) -> None:
    assert len(replayed.measured) == len(replayed.recorded) >= 100
    assert replayed.ran.result["errors"] == {}
    assert 0.5 <= replayed.utilisation <= 0.9
    assert replayed.measured.streamed.sum() == replayed.recorded.streamed.sum()
    assert not replayed.measured.synthetic.any()
    assert replayed.recorded.synthetic.all()


def test_simulated_percentiles_are_those_that_were_measured(replayed: Replayed) -> None:
    figures = {figure.name: figure.ratio for figure in replayed.figures()}
    assert figures == pytest.approx(dict.fromkeys(("TTFT p50", "TTFT p95", "TPOT p50", "TPOT p95"), 1.0), rel=WITHIN)


def test_calls_queue(replayed: Replayed) -> None:
    """Else there would be nothing to predict: alone, a call of this hour waits for its own prompt only."""
    ttft_p50, ttft_p95, *_ = replayed.figures()
    assert ttft_p95.measured > 2 * ttft_p50.measured


def test_the_fleet_that_is_planned_is_the_one_that_is_needed(replayed: Replayed) -> None:
    assert replayed.times.meet(SHORT.loose)
    assert replayed.replicas(SHORT.loose) == 1
    assert not replayed.times.meet(SHORT.strict)
    assert replayed.replicas(SHORT.strict) == 2
