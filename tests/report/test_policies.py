"""Replicas over the week by policy: what takes calls when, and what is paid for."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.fleets import SERVER
from submeter.report.load import DAY_S, HOUR_S
from submeter.report.plan import Objective, Plan, plan
from submeter.report.policies import Policy, hourly, reactive, static
from submeter.report.simulate import Schedule, simulate
from submeter.report.workloads import Demand

HOURS = np.arange(168)


def at(schedule: Schedule, second: float) -> int:
    return [replicas for from_s, replicas in schedule if from_s <= second][-1]


def test_static_is_the_same_all_week() -> None:
    found = static(3)
    assert found.paid_by_hour == (3,) * 168
    assert at(found.schedule, 0) == at(found.schedule, 7 * DAY_S) == 3


def test_by_the_hour_in_proportion_and_never_none() -> None:
    demand = np.where(HOURS == 10, 4.0, np.where(HOURS == 11, 1.2, np.where(HOURS == 12, 1.3, 0.0)))
    found = hourly(demand)(10)
    assert found.paid_by_hour[9:14] == (1, 10, 3, 4, 1)
    assert [at(found.schedule, hour * HOUR_S) for hour in (9, 10, 11, 12, 13)] == [1, 10, 3, 4, 1]
    assert at(found.schedule, 11 * HOUR_S - 0.001) == 10


def test_the_spare_one_is_always_there() -> None:
    found = hourly(np.where(HOURS == 10, 4.0, 0.0))(10).plus(1)
    assert found.paid_by_hour[9:11] == (2, 11)
    assert at(found.schedule, 10 * HOUR_S) == 11


def stay(from_s: float, until_s: float, calls: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(calls, from_s), np.full(calls, until_s)


def test_reaction_comes_a_cold_start_late_and_stays_for_the_hold() -> None:
    # Ten calls are there from 1:00 to 1:30, in a week in which nobody else comes.
    found = reactive(*stay(3600, 5400, 10))(5)
    schedule = found.schedule
    assert [at(schedule, second) for second in (0, 3600, 3899, 3900, 5400)] == [1, 1, 1, 5, 5]
    # The last look that sees them is at 5385 s; its replicas start 300 s later and go 300 s after the need has.
    assert [at(schedule, second) for second in (5985, 6000, 20_000)] == [5, 1, 1]
    # Paid for from the decision at 3600 s to 5985 s, and the one otherwise: 160 of the hour's 240 ticks.
    assert found.paid_by_hour[:3] == (1, 1 + np.ceil(4 * 160 / 240), 1)


def test_replicas_follow_how_many_are_in_flight() -> None:
    early, late = stay(3600, 7200, 20), stay(36_000, 39_600, 5)
    found = reactive(np.concatenate([early[0], late[0]]), np.concatenate([early[1], late[1]]))(8)
    assert [at(found.schedule, second) for second in (5000, 38_000)] == [8, 2]


def test_calls_that_are_never_done_are_not_waited_for() -> None:
    found = reactive(np.array([0.0, 10.0]), np.array([np.inf, 12.0]))(2)
    assert found.paid_by_hour == (1,) * 168


@pytest.mark.parametrize(
    "policy", [static, hourly(HOURS % 24 + 1.0), reactive(HOURS * 3600.0, HOURS * 3700.0)], ids=["s", "h", "r"]
)
@given(peak=st.integers(1, 50), second=st.floats(0, 7 * DAY_S - 1))
@settings(max_examples=30)
def test_more_peak_is_never_fewer_replicas(policy: Policy, peak: int, second: float) -> None:
    fewer, more = policy(peak), policy(peak + 1)
    assert at(fewer.schedule, second) <= at(more.schedule, second)
    assert all(a <= b for a, b in zip(fewer.paid_by_hour, more.paid_by_hour, strict=True))


@given(peak=st.integers(1, 50), second=st.floats(0, 7 * DAY_S - 1))
@settings(max_examples=20)
def test_no_replica_serves_unpaid(peak: int, second: float) -> None:
    arrivals = np.sort(np.random.default_rng(peak).uniform(0, 7 * DAY_S, 400))
    for policy in (static, hourly(HOURS % 24 + 1.0), reactive(arrivals, arrivals + 500)):
        found = policy(peak)
        hour = int(second // HOUR_S)
        serving = [at(found.schedule, hour * HOUR_S + tick * 15) for tick in range(240)]
        assert found.paid_by_hour[hour] >= np.mean(serving)


# ---- plans by each ---------------------------------------------------------------------------------------------------


SLOW = msgspec.structs.replace(SERVER, speed=0.25)
OBJECTIVE = Objective(6.0, 0.12)


def diurnal() -> Demand:
    """Two hours of each day are busy, and in the rest somebody comes every five minutes."""
    drawn = np.random.default_rng(1)
    busy = (np.arange(3)[:, None] * DAY_S + drawn.uniform(9 * HOUR_S, 11 * HOUR_S, (3, 4000))).ravel()
    quiet = np.arange(0, 3 * DAY_S, 300.0)
    times = np.sort(np.concatenate([busy, quiet]))
    lengths = drawn.integers(500, 4000, len(times)), drawn.integers(50, 500, len(times))
    return Demand(times, *lengths, (times // DAY_S).astype(np.int32))


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    calls = diurnal()
    found = {name: plan(calls, SLOW, OBJECTIVE, name, speeds=()) for name in ("static", "hourly", "reactive")}
    return {name: each for name, each in found.items() if isinstance(each, Plan)}


def hours(found: Plan) -> int:
    return sum(found.replica_hours_by_day)


def test_each_policy_meets_the_objective_with_one_down(plans: dict[str, Plan]) -> None:
    assert set(plans) == {"static", "hourly", "reactive"}
    for found in plans.values():
        for proof in (found.proof, found.proof_one_down):
            assert max(p95 for p95 in proof.ttft_p95_by_day_s if p95 is not None) <= OBJECTIVE.ttft_p95_s
            assert max(p95 for p95 in proof.tpot_p95_by_day_s if p95 is not None) <= OBJECTIVE.tpot_p95_s


def test_who_follows_the_demand_pays_for_less(plans: dict[str, Plan]) -> None:
    assert plans["static"].replicas > 1
    assert hours(plans["static"]) == (plans["static"].replicas + 1) * 168
    assert hours(plans["hourly"]) < 0.7 * hours(plans["static"])
    assert hours(plans["reactive"]) < hours(plans["static"])
    assert plans["hourly"].utilisation > plans["static"].utilisation
    assert min(plans["hourly"].replicas_by_hour) == 2  # one, and the spare one


def test_a_schedule_with_one_fewer_at_the_peak_fails(plans: dict[str, Plan]) -> None:
    calls, found = diurnal(), plans["hourly"]
    fewer = hourly(np.array(found.hourly_demand))(found.replicas - 1)
    served = simulate(*calls[:3], SLOW, fewer.schedule)
    missed: list[Callable[[np.ndarray], bool]] = [
        lambda day: bool((served.ttft_s[day] > OBJECTIVE.ttft_p95_s).sum() > day.sum() // 20),
        lambda day: bool((served.tpot_s[day] > OBJECTIVE.tpot_p95_s).sum() > day.sum() // 20),
    ]
    assert any(miss(calls.days == day) for miss in missed for day in range(7))
