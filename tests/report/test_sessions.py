"""Sessions as a closed loop: who waits for whom, that it does, and what copies and cuts leave of it."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.fleets import SERVER
from report.tiny_traces import HOUR_NS, WEEK, Row, trace_of
from submeter.report import load
from submeter.report.breakeven import at_volume
from submeter.report.engine import Limits, StepTime
from submeter.report.load import DAY_S, HOUR_S
from submeter.report.plan import Objective, Plan, plan
from submeter.report.sessions import Waits, waits
from submeter.report.simulate import Engine, GiveUp, Served, simulate
from submeter.report.workloads import Demand, demand, scaled

QUICK = msgspec.structs.replace(SERVER, slots=4)


def one_at_a_time(seconds: float) -> Engine:
    """One slot, one token out; the host adds half a second to each call."""
    return Engine(StepTime(lambda decodes, prompt=0: seconds), Limits(1, 10, 10), host_overhead_s=0.5)


def talks(seed: int, sessions: int, turns: int, seconds: float = 60.0) -> Demand:
    """Sessions that each ask, read and ask on, recorded anywhere in so many seconds."""
    drawn = np.random.default_rng(seed)
    times = np.sort(drawn.uniform(0, seconds, (sessions, turns)), axis=1).ravel()
    order = np.argsort(times)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    earlier = np.where(order % turns > 0, place[order - 1], -1)
    inputs, outputs = drawn.integers(1, 2000, len(order)), drawn.integers(1, 100, len(order))
    days = np.zeros(len(order), np.int32)
    return Demand(times[order], inputs, outputs, days, waits(earlier, drawn.uniform(0, 3, len(order))))


def replayed(calls: Demand, replicas: int = 1) -> Served:
    return simulate(*calls[:3], QUICK, replicas, waits=calls.waits)


def linked(calls: Demand) -> list[tuple[float, float, float]]:
    """(arrival of a call that waits, arrival of the one before, think time)"""
    if calls.waits is None:
        return []
    own = np.flatnonzero(calls.waits.earlier >= 0)
    before = calls.arrival_s[calls.waits.earlier[own]]
    return list(zip(calls.arrival_s[own].tolist(), before.tolist(), calls.waits.think_s[own].tolist(), strict=True))


# ---- who waits -------------------------------------------------------------------------------------------------------


def test_a_call_waits_for_the_one_before_it_in_its_session_if_that_had_ended() -> None:
    quarter = HOUR_NS // 4
    rows = [
        Row(at_h=0, session="a", e2e_ns=quarter),
        Row(at_h=0.125, session="b", e2e_ns=quarter),
        Row(at_h=0.2, e2e_ns=1),
        Row(at_h=0.25, session="b", e2e_ns=quarter),  # beside the one before
        Row(at_h=0.3, e2e_ns=1),  # of no session, as the other
        Row(at_h=0.375, session="a", refused=True, e2e_ns=quarter),  # no fleet would see it
        Row(at_h=0.5, session="a"),
        Row(at_h=1, session="b", e2e_ns=quarter),
        Row(at_h=2, session="a", e2e_ns=1),  # when the one before ended is not known
    ]
    found = demand(trace_of(rows), WEEK).waits
    assert found is not None
    assert found.earlier.tolist() == [-1, -1, -1, -1, -1, 0, 3, -1]
    assert found.think_s.tolist() == [0, 0, 0, 0, 0, 900, 1800, 0]


def test_without_sessions_nobody_waits() -> None:
    assert demand(trace_of([Row(e2e_ns=1), Row(at_h=1, e2e_ns=1)]), WEEK).waits is None
    assert demand(trace_of([]), WEEK).waits is None


# ---- that it does ----------------------------------------------------------------------------------------------------

# The first and, 3 s after its answer, the third are one session; the second is somebody else's.
ARRIVALS, ONCE = np.array([0.0, 1.0, 4.0]), np.ones(3, np.int64)
THIRD_WAITS = Waits(np.array([-1, -1, 0]), np.array([0.0, 0.0, 3.0]))


@pytest.mark.parametrize(
    ("step_s", "third_at_s", "third_done_s"),
    [
        (0.25, 0.25 + 0.5 + 3, 3.75 + 0.25 + 0.5),  # sooner than recorded
        (2.0, 2 + 0.5 + 3, 5.5 + 2 + 0.5),
        (10.0, 10 + 0.5 + 3, 10 + 10 + 10 + 0.5),  # the second is served from 10 s to 20 s
    ],
)
def test_a_call_comes_its_think_time_after_the_answer(step_s: float, third_at_s: float, third_done_s: float) -> None:
    served = simulate(ARRIVALS, ONCE, ONCE, one_at_a_time(step_s), 1, waits=THIRD_WAITS)
    assert served.arrival_s.tolist() == [0, 1, third_at_s]
    assert served.done_s[2] == third_done_s
    assert served.ttft_s[2] == third_done_s - third_at_s


def test_after_a_call_that_never_fits_the_next_arrives_as_recorded_but_not_before_it() -> None:
    inputs = np.array([50, 1, 1])
    served = simulate(ARRIVALS, inputs, ONCE, one_at_a_time(2.0), 1, waits=THIRD_WAITS)
    assert served.arrival_s.tolist() == [0, 1, 4]
    assert served.never_fits == 1
    chain = Waits(np.array([-1, 0, 1]), np.array([0.0, 9.0, 0.0]))
    served = simulate(ARRIVALS, np.array([1, 50, 1]), ONCE, one_at_a_time(2.0), 1, waits=chain)
    assert served.arrival_s.tolist() == [0, 2 + 0.5 + 9, 11.5]


def test_the_objective_counts_from_when_a_call_did_arrive() -> None:
    def lost(ttft_s: float) -> bool:
        limits = GiveUp(ttft_s, 1.0, most_late=[1], most_slow=[0], group=[0, 0, 0])
        return simulate(ARRIVALS, ONCE, ONCE, one_at_a_time(10.0), 1, waits=THIRD_WAITS, give_up=limits).gave_up

    # 10.5 s, 19.5 s and 17 s; from the recorded 4 s the third would have 26.5 s.
    assert not lost(17.0)
    assert lost(16.9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 6), st.integers(1, 3))
def test_each_call_comes_just_when_it_may(seed: int, sessions: int, turns: int, replicas: int) -> None:
    calls = talks(seed, sessions, turns)
    served = replayed(calls, replicas)
    assert np.isfinite(served.done_s).all()
    if calls.waits is None:
        assert served.arrival_s.tolist() == calls.arrival_s.tolist()
        return
    earlier, think_s = calls.waits
    may_s = np.where(earlier < 0, calls.arrival_s, served.done_s[earlier] + think_s)
    assert served.arrival_s.tolist() == may_s.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 6), st.integers(1, 3))
def test_calls_that_came_at_those_times_by_themselves_meet_the_same(
    seed: int, sessions: int, turns: int, replicas: int
) -> None:
    calls = talks(seed, sessions, turns)
    closed = replayed(calls, replicas)
    order = np.argsort(closed.arrival_s)
    columns = (closed.arrival_s[order], calls.input_tokens[order], calls.output_tokens[order])
    alone = simulate(*columns, QUICK, replicas)
    for name in ("ttft_s", "tpot_s", "done_s", "replica"):
        assert getattr(alone, name).tobytes() == getattr(closed, name)[order].tobytes()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_where_nobody_waits_nothing_changes_to_the_byte(seed: int, count: int) -> None:
    calls = talks(seed, count, 1)
    nobody = Waits(np.full(count, -1), np.zeros(count))
    expected, found = replayed(calls), simulate(*calls[:3], QUICK, 1, waits=nobody)
    for name in ("arrival_s", "ttft_s", "tpot_s", "done_s", "replica"):
        assert getattr(expected, name).tobytes() == getattr(found, name).tobytes()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_slow_fleet_never_has_more_calls_than_there_are_sessions(seed: int, sessions: int) -> None:
    calls = talks(seed, sessions, 8, seconds=1.0)
    closed, opened = replayed(calls), replayed(calls._replace(waits=None))
    assert _most_in_flight(closed) <= sessions
    assert _most_in_flight(opened) >= _most_in_flight(closed)


def _most_in_flight(served: Served) -> int:
    times = np.concatenate([served.done_s, served.arrival_s])
    changes = np.repeat([-1, 1], len(served.done_s))[np.argsort(times, kind="stable")]
    return int(np.cumsum(changes).max())


# ---- cuts and copies -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_of_some_calls_those_still_wait_whose_earlier_call_is_among_them(seed: int, data: st.DataObject) -> None:
    calls = talks(seed, 5, 4)
    assert calls.waits is not None
    rows = sorted(data.draw(st.sets(st.integers(0, 19))))
    found = calls.waits.taken(np.array(rows, np.int64))
    expected = [rows.index(first) if (first := int(calls.waits.earlier[row])) in rows else -1 for row in rows]
    if found is None:
        assert set(expected) <= {-1}
    else:
        assert found.earlier.tolist() == expected
        assert found.think_s.tolist() == calls.waits.think_s[rows].tolist()


def test_a_cut_between_two_calls_lets_the_second_come_as_recorded() -> None:
    times = np.array([DAY_S - 20.0, DAY_S - 10, DAY_S + 10, DAY_S + 20])
    counts = np.ones(4, np.int64)
    week = Demand(times, counts, counts, (times // DAY_S).astype(np.int32), Waits(np.arange(4) - 1, np.full(4, 5.0)))
    for day in (0, 1):
        found = load.of_day(week, day).waits
        assert found is not None
        assert found.earlier.tolist() == [-1, 0]
    assert linked(load.between(week, DAY_S - 10, DAY_S + 20)) == [(DAY_S + 10, DAY_S - 10, 5)]
    assert load.sample(week, 1).waits is None
    assert linked(load.sample(week, 4)) == linked(week)
    assert linked(load.hours_of(week, 2)) == linked(load.of_day(week, 0))


def test_another_model_leaves_sessions_as_they_are() -> None:
    calls = talks(1, 3, 3)
    assert scaled(calls, Decimal("1.1"), Decimal("0.5")).waits is calls.waits


@pytest.mark.parametrize("arrivals", ["superposed", "duplicated"])
def test_each_copy_of_a_session_waits_for_its_own_answers(arrivals: str) -> None:
    calls = talks(2, 4, 5)._replace(arrival_s=12 * HOUR_S + talks(2, 4, 5).arrival_s)
    found = linked(at_volume(calls, 3, arrivals, seed=1))  # type: ignore[arg-type]
    apart = [(own - before, think_s) for own, before, think_s in found]
    once = [(own - before, think_s) for own, before, think_s in linked(calls)]
    assert len(apart) == 3 * 4 * 4
    assert np.array(sorted(apart)) == pytest.approx(np.array(sorted(3 * once)), abs=1e-6)


def test_a_copy_that_is_moved_round_the_weeks_end_waits_for_no_later_call() -> None:
    calls = talks(3, 6, 5, seconds=HOUR_S)
    for seed in range(5):
        for arrival_s, before_s, _ in linked(at_volume(calls, 4, "superposed", seed)):
            assert before_s <= arrival_s


def test_of_a_part_of_the_calls_some_still_wait() -> None:
    found = linked(at_volume(talks(4, 6, 5), 0.5, "superposed", 1))
    assert 0 < len(found) < 12
    assert set(found) < set(linked(talks(4, 6, 5)))


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_who_waits_for_answers_needs_fewer_replicas_than_if_all_came_as_recorded() -> None:
    """24 sessions of 10 calls that a quick service answered within 20 s: a fleet need not serve them so soon."""
    calls, objective = talks(5, 24, 10, seconds=20.0), Objective(2.0, 0.05)
    closed, opened = (plan(each, QUICK, objective, speeds=()) for each in (calls, calls._replace(waits=None)))
    assert isinstance(closed, Plan)
    assert isinstance(opened, Plan)
    assert closed.replicas < opened.replicas
    assert closed.averages == opened.averages
    assert closed.poisson == opened.poisson
    late = [(replayed(calls, closed.replicas - fewer).ttft_s > 2.0).mean() for fewer in (0, 1)]
    assert late[0] <= 0.05 < late[1]


@pytest.mark.parametrize("policy", ["hourly", "reactive"])
def test_other_policies_serve_sessions_too(policy: str) -> None:
    found = plan(talks(6, 12, 5), QUICK, Objective(2.0, 0.05), policy, speeds=())  # type: ignore[arg-type]
    assert isinstance(found, Plan)
