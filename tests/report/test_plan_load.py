"""What calls ask of one replica, held against the simulator."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.fleets import SERVER, bursty, demand_of
from submeter.report import load
from submeter.report.load import DAY_S, HOUR_S, Load
from submeter.report.simulate import engine_of, simulate

SMALL_CHUNK = msgspec.structs.replace(SERVER, chunk_tokens=512)


@given(st.integers(0, 5000), st.integers(0, 300), st.sampled_from([SERVER, SMALL_CHUNK]))
def test_alone_is_what_a_single_call_meets_in_the_simulator(inputs: int, outputs: int, server: object) -> None:
    engine = engine_of(server)  # type: ignore[arg-type]
    one = np.array([inputs]), np.array([outputs])
    served = simulate(np.zeros(1), *one, engine, 1)
    ttft_s, tpot_s = load.alone(engine, *one)
    assert ttft_s == pytest.approx(served.ttft_s, abs=1e-9)
    assert tpot_s == pytest.approx(served.tpot_s, abs=1e-9, nan_ok=True)


def test_a_call_larger_than_the_cache_never_has_an_answer() -> None:
    ttft_s, tpot_s = load.alone(engine_of(SERVER), np.array([10**7]), np.array([2]))
    assert ttft_s.tolist() == tpot_s.tolist() == [np.inf]


def test_work_is_that_of_a_replica_which_never_idles() -> None:
    calls = bursty(1)
    engine = engine_of(SERVER)
    whole = simulate(np.zeros(90), calls.input_tokens, calls.output_tokens, SERVER, 1).done_s.max()
    assert load.saturated_s(engine, calls) == pytest.approx(whole - SERVER.host_overhead_s)
    assert Load(calls, engine).work_s.sum() == pytest.approx(whole - SERVER.host_overhead_s)


def test_a_sample_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, engine = bursty(1, bursts=100), engine_of(SERVER)
    whole = load.saturated_s(engine, calls)
    some = load.sample(calls, 1000)
    assert len(some.arrival_s) == 1000
    assert load.saturated_s(engine, some) * 3 == pytest.approx(whole, rel=0.1)


def test_calls_that_never_fit_are_no_work() -> None:
    engine = engine_of(SERVER)
    assert load.saturated_s(engine, demand_of([0.0], 10**7)) == 0


def test_demand_by_hour_is_the_work_of_the_calls_that_come_in_it() -> None:
    calls = Load(demand_of([0, 10, 3 * HOUR_S, 7 * DAY_S - 1]), engine_of(SERVER))
    assert np.flatnonzero(calls.by_hour).tolist() == [0, 3, 167]
    assert calls.by_hour[0] == pytest.approx(2 * calls.by_hour[3])
    assert calls.by_hour.sum() * HOUR_S == pytest.approx(calls.work_s.sum())


def test_crowding_sees_a_burst_where_the_mean_does_not() -> None:
    even = [minute * 60.0 for minute in range(1440)]
    crowded = [DAY_S + 3000 + 0.01 * call for call in range(1440)]
    crowding = Load(demand_of(even + crowded), engine_of(SERVER)).crowding()
    assert crowding[1] == pytest.approx(1440 * crowding[0])


def test_a_day_is_its_calls() -> None:
    calls = demand_of([0, DAY_S - 0.001, DAY_S, DAY_S + 5, 2 * DAY_S])
    assert [load.of_day(calls, day).arrival_s.tolist() for day in (0, 1, 3)] == [
        [0, DAY_S - 0.001],
        [DAY_S, DAY_S + 5],
        [],
    ]


def test_many_calls_are_shown_by_hours_of_all_times_of_day() -> None:
    calls = demand_of([hour * HOUR_S + 60 for hour in range(168)])
    assert len(load.hours_of(calls, 168).arrival_s) == 168
    assert (load.hours_of(calls, 40).arrival_s // HOUR_S).tolist() == list(range(0, 168, 5))
    assert (load.hours_of(calls, 30).arrival_s // HOUR_S).tolist() == list(range(0, 168, 7))


def test_of_many_calls_in_one_hour_all_are_shown() -> None:
    assert len(load.hours_of(demand_of([3 * HOUR_S + call for call in range(200)]), 40).arrival_s) == 200
