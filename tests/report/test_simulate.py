"""A fleet against queueing theory, and what a run says of calls that fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.report import catalog
from submeter.report.catalog import Server
from submeter.report.engine import Limits, StepTime
from submeter.report.simulate import Engine, GiveUp, Served, simulate

SERVER = Server(gpu=catalog.gpu("h100_sxm"), model=catalog.model("llama-3.3-70b"), tensor_parallel=2)


def one_at_a_time(seconds: float) -> Engine:
    """A single server whose every call takes just this: one slot, one token out."""
    return Engine(StepTime(lambda decodes, prompt=0: seconds), Limits(1, 10, 10))


def traffic(calls: int, seconds: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    arrivals = np.sort(drawn.uniform(0, seconds, calls))
    return arrivals, drawn.integers(1, 4000, calls), drawn.integers(1, 400, calls)


# ---- against theory --------------------------------------------------------------------------------------------------


def waits(arrivals: np.ndarray) -> np.ndarray:
    """Of calls that take one second each, one at a time (Lindley 1952): what is left of the work before."""
    ahead = np.arange(len(arrivals)) - arrivals
    return ahead - np.minimum.accumulate(ahead)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_is_that_of_a_queue_with_poisson_arrivals_and_equal_services(load: float) -> None:
    """M/D/1: load / (2 (1 - load)) services (Pollaczek 1930, Khinchin 1932), within 1 %.

    By simulation of 100,000 calls, which is Lindley's recursion to a nanosecond, and that recursion over four million.
    """
    drawn = np.random.default_rng(7)
    few, many = (np.cumsum(drawn.exponential(1 / load, calls)) for calls in (100_000, 4_000_000))
    once = np.ones(len(few), np.int64)
    simulated = simulate(few, once, once, one_at_a_time(1.0), 1).ttft_s - 1
    assert simulated == pytest.approx(waits(few), abs=1e-9)
    assert waits(many).mean() == pytest.approx(load / (2 * (1 - load)), rel=0.01)


def test_as_many_are_there_as_come_in_the_time_that_each_stays() -> None:
    """Little's law: the mean number present, counted from the events, is the rate times the mean stay."""
    arrivals, inputs, outputs = traffic(3000, 600)
    served = simulate(arrivals, inputs, outputs, SERVER, 2)
    leaves = served.done_s - SERVER.host_overhead_s
    times = np.concatenate([arrivals, leaves])
    order = np.argsort(times, kind="stable")
    present = np.cumsum(np.repeat([1, -1], len(arrivals))[order])
    area = (present[:-1] * np.diff(times[order])).sum()
    assert area == pytest.approx((leaves - arrivals).sum(), rel=1e-9)
    assert present[-1] == 0


def test_a_replica_of_a_fleet_serves_its_calls_as_if_alone() -> None:
    """What routing gave to each replica, simulated by itself: the same times to the bit."""
    arrivals, inputs, outputs = traffic(2000, 200)
    served = simulate(arrivals, inputs, outputs, SERVER, 3)
    for replica in range(3):
        mine = served.replica == replica
        alone = simulate(arrivals[mine], inputs[mine], outputs[mine], SERVER, 1)
        assert np.array_equal(alone.ttft_s, served.ttft_s[mine])
        assert np.array_equal(alone.done_s, served.done_s[mine])


def test_the_same_calls_give_the_same_bytes() -> None:
    first, second = (simulate(*traffic(2000, 200), SERVER, 3) for _ in range(2))
    for one, other in zip(fields(first), fields(second), strict=True):
        assert one.tobytes() == other.tobytes()


def fields(served: Served) -> list[np.ndarray]:
    return [served.ttft_s, served.tpot_s, served.done_s, served.replica]


# ---- what calls meet -------------------------------------------------------------------------------------------------


def test_times_as_arithmetic() -> None:
    # Prompt at 0: first token after 1 s; two more steps of 1 s; the host adds half a second to each call, once.
    engine = Engine(StepTime(lambda decodes, prompt=0: 1.0), Limits(8, 100, 100), host_overhead_s=0.5)
    served = simulate(np.array([10.0, 10.0]), np.array([5, 5]), np.array([3, 1]), engine, 1)
    assert served.ttft_s.tolist() == [1.5, 1.5]
    assert served.done_s.tolist() == [13.5, 11.5]
    assert served.tpot_s[0] == 1
    assert np.isnan(served.tpot_s[1])


def test_calls_go_to_the_least_loaded() -> None:
    once = np.ones(6, np.int64)
    served = simulate(np.array([0, 0, 0, 0, 5, 5.0]), once, once, one_at_a_time(2.0), 3)
    assert served.replica.tolist() == [0, 1, 2, 0, 0, 1]
    assert served.ttft_s.tolist() == [2, 2, 2, 4, 2, 2]


def test_a_schedule_changes_who_takes_new_calls() -> None:
    once = np.ones(4, np.int64)
    served = simulate(np.array([0, 0, 10, 10.0]), once, once, one_at_a_time(2.0), [(0.0, 2), (10.0, 1)])
    assert served.replica.tolist() == [0, 1, 0, 0]


def test_a_call_that_never_fits_fails_and_is_counted() -> None:
    served = simulate(np.zeros(3), np.array([5, 50, 5]), np.array([2, 2, 2]), one_at_a_time(1.0), 2)
    assert served.never_fits == 1
    assert served.replica.tolist() == [0, -1, 1]
    assert [served.ttft_s[1], served.tpot_s[1], served.done_s[1]] == [np.inf] * 3


def test_no_calls_are_no_fault() -> None:
    nothing = np.zeros(0, np.int64)
    served = simulate(np.zeros(0), nothing, nothing, SERVER, 1)
    assert [len(column) for column in fields(served)] == [0, 0, 0, 0]


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_no_call_is_lost(seed: int, replicas: int) -> None:
    served = simulate(*traffic(60, 10, seed), SERVER, replicas)
    assert np.isfinite(served.ttft_s).all()
    assert (served.ttft_s > SERVER.host_overhead_s).all()
    assert (served.done_s >= served.ttft_s).all()


# ---- giving up -------------------------------------------------------------------------------------------------------


def give_up(late: list[int], slow: list[int], group: list[int]) -> GiveUp:
    return GiveUp(ttft_s=3.0, tpot_s=1.0, most_late=late, most_slow=slow, group=group)


def test_a_run_ends_at_the_first_late_call_too_many_of_a_group() -> None:
    once = np.ones(6, np.int64)
    # One after the other: first tokens after 2, 4, 6, 8, 10, 12 s, of which five are late.
    arguments = (np.zeros(6), once, once, one_at_a_time(2.0), 1)
    assert not simulate(*arguments, give_up=give_up([5], [0], [0] * 6)).gave_up
    lost = simulate(*arguments, give_up=give_up([2, 9], [0, 0], [0, 0, 0, 0, 1, 1]))
    assert lost.gave_up
    assert np.isnan(lost.ttft_s).tolist() == [False] * 4 + [True] * 2
    assert not simulate(*arguments, give_up=give_up([3, 2], [0, 0], [0, 0, 0, 0, 1, 1])).gave_up


def test_a_run_ends_at_the_first_slow_call_too_many() -> None:
    arguments = (np.zeros(1), np.array([1]), np.array([4]), one_at_a_time(1.5), 1)
    assert simulate(*arguments, give_up=give_up([1], [0], [0])).gave_up
    assert not simulate(*arguments, give_up=give_up([1], [1], [0])).gave_up


def test_a_call_that_never_fits_is_late() -> None:
    arguments = (np.zeros(1), np.array([50]), np.array([1]), one_at_a_time(1.0), 1)
    assert simulate(*arguments, give_up=give_up([0], [0], [0])).gave_up


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_it_gives_up_just_when_the_whole_run_would_have_too_many(seed: int) -> None:
    arrivals, inputs, outputs = traffic(100, 7, seed)
    day = np.arange(100) % 2
    whole = simulate(arrivals, inputs, outputs, SERVER, 1)
    ttft_s, tpot_s = float(np.quantile(whole.ttft_s, 0.8)), float(np.nanquantile(whole.tpot_s, 0.8))
    late = np.bincount(day[whole.ttft_s > ttft_s], minlength=2)
    slow = np.bincount(day[whole.tpot_s > tpot_s], minlength=2)

    def gives_up(fewer_late: list[int], fewer_slow: list[int]) -> bool:
        limits = GiveUp(ttft_s, tpot_s, (late - fewer_late).tolist(), (slow - fewer_slow).tolist(), day.tolist())
        return simulate(arrivals, inputs, outputs, SERVER, 1, give_up=limits).gave_up

    assert not gives_up([0, 0], [0, 0])
    for one_fewer in ([1, 0], [0, 1]):
        assert gives_up(one_fewer, [0, 0])
        assert gives_up([0, 0], one_fewer)
