"""Plans of small weeks: what they promise holds in the simulator, and one replica fewer breaks it."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.fleets import SERVER, bursty, demand_of
from submeter.report import load
from submeter.report.load import DAY_S
from submeter.report.plan import NotReachable, Objective, Plan, by_poisson, by_replay, cdf, plan
from submeter.report.search import Search
from submeter.report.simulate import simulate
from submeter.report.workloads import Demand

EASY = Objective(2.0, 0.05)
QUICK = msgspec.structs.replace(SERVER, slots=4)
"""Of few slots, so that bursts need many."""
BURSTS = bursty(3, bursts=9, days=5)


def planned(demand: Demand, objective: Objective = EASY, policy: str = "static", **kwargs: object) -> Plan:
    found = plan(demand, QUICK, objective, policy, **kwargs)  # type: ignore[arg-type]
    assert isinstance(found, Plan)
    return found


def holds(demand: Demand, replicas: int, objective: Objective = EASY) -> bool:
    """By the definition, from a whole run: on each day at most one in twenty is above."""
    served = simulate(*demand[:3], QUICK, replicas)
    for day in range(7):
        ttft_s, tpot_s = (values[demand.days == day] for values in (served.ttft_s, served.tpot_s))
        tpot_s = tpot_s[~np.isnan(tpot_s)]
        late, slow = (ttft_s > objective.ttft_p95_s).sum(), (tpot_s > objective.tpot_p95_s).sum()
        if late > len(ttft_s) // 20 or slow > len(tpot_s) // 20:
            return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_so_many_meet_the_objective_and_one_fewer_does_not(seed: int) -> None:
    calls = bursty(seed, bursts=9, days=5)
    found = planned(calls, speeds=())
    assert found.replicas > 2
    assert holds(calls, found.replicas)
    assert not holds(calls, found.replicas - 1)


def test_each_day_has_what_it_needs_by_itself() -> None:
    found = planned(BURSTS, speeds=())
    for day in range(7):
        mine = BURSTS.days == day
        calls = load.of_day(BURSTS, day)
        if not mine.any():
            assert found.by_day[day] == 0
            continue
        assert holds(calls, found.by_day[day])
        assert found.by_day[day] == 1 or not holds(calls, found.by_day[day] - 1)
    assert max(found.by_day) == found.replicas


def test_the_spare_one_may_fail() -> None:
    found = planned(BURSTS, speeds=())
    assert found.spare == 1
    assert found.replicas_by_hour == (found.replicas + 1,) * 168
    assert found.replica_hours_by_day == ((found.replicas + 1) * 24,) * 7
    down, up = found.proof_one_down, found.proof
    assert max(each for each in down.ttft_p95_by_day_s if each is not None) <= EASY.ttft_p95_s
    assert up.ttft_s.p95 <= down.ttft_s.p95


def test_the_proof_is_of_the_very_run() -> None:
    found = planned(BURSTS, speeds=())
    served = simulate(*BURSTS[:3], QUICK, found.replicas)
    ranked = np.sort(served.ttft_s)
    calls = len(ranked)
    assert found.proof_one_down.ttft_s.p95 == ranked[calls - calls // 20 - 1]
    assert found.proof_one_down.ttft_cdf[-1] == (ranked[-1], 1.0)
    assert len(found.proof_one_down.ttft_cdf) == 60
    assert found.proof_one_down.tpot_p95_by_day_s[6] is None


def test_a_call_each_hour_needs_one_replica() -> None:
    found = planned(demand_of([hour * 3600.0 for hour in range(168)]))
    assert (found.replicas, found.by_day, found.poisson) == (1, (1,) * 7, 1)
    # A call alone never has a batch to share; together they are fewer seconds than an hour has, by far.
    assert found.averages == pytest.approx(found.utilisation)
    assert 0 < found.averages < 0.0001
    assert sum(found.hourly_demand) / 168 == pytest.approx(found.averages)
    # Slower by more than the objective leaves room for: nothing would do.
    assert [replicas for _, replicas in found.by_speed] == [1] * 6


def test_single_tokens_have_no_pace() -> None:
    found = planned(demand_of([0.0, 1.0], output_tokens=1))
    assert found.proof.tpot_s is None
    assert found.proof.tpot_p95_by_day_s == (None,) * 7


@given(st.integers(0, 2**32), st.floats(0.8, 3.0), st.floats(0.025, 0.2), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=15)
def test_a_stricter_objective_is_never_cheaper(seed: int, ttft_s: float, tpot_s: float, a: float, b: float) -> None:
    calls = bursty(seed)
    strict = Objective(0.8 + (ttft_s - 0.8) * a, 0.025 + (tpot_s - 0.025) * b)
    loose, tight = (by_replay(calls, QUICK, objective) for objective in (Objective(ttft_s, tpot_s), strict))
    assert tight is None or (loose is not None and loose <= tight)


def test_faster_servers_are_fewer_and_slower_ones_more() -> None:
    found = planned(BURSTS)
    needs = [replicas for _, replicas in found.by_speed if replicas is not None]
    assert dict(found.by_speed)[1.0] == found.replicas
    assert needs == sorted(needs, reverse=True)
    assert needs[0] > found.replicas > needs[-1]


@pytest.mark.parametrize("speed", [0.79, 1.61])
def test_at_a_speed_it_is_what_a_plan_of_such_servers_finds(speed: float) -> None:
    calls = bursty(4, bursts=8, size=400, days=2)
    [(_, replicas)] = planned(calls, speeds=(speed,)).by_speed
    assert replicas == pytest.approx(by_replay(calls, msgspec.structs.replace(QUICK, speed=speed), EASY), rel=0.1)


@pytest.mark.parametrize("seed", range(6))
def test_it_holds_with_the_spare_one_too(seed: int) -> None:
    calls = bursty(seed, bursts=9, days=5)
    found = planned(calls, speeds=())
    assert holds(calls, found.replicas)
    assert holds(calls, found.replicas + found.spare)


def test_too_slow_for_any_number() -> None:
    found = planned(demand_of([0.0, 5.0], input_tokens=8000), Objective(0.8, 0.05))
    assert dict(found.by_speed)[0.79] is None
    assert dict(found.by_speed)[1.0] == 1


def test_more_than_can_be_searched() -> None:
    found = plan(demand_of([0.0] * 4500, 5000), QUICK, Objective(0.6, 0.05))
    assert found == NotReachable("4,096 replicas are not enough", ("a GPU or precision that is faster",))


def test_bursts_of_a_second_are_over_before_an_autoscaler_has_started_anything() -> None:
    found = plan(BURSTS, QUICK, EASY, "reactive")
    assert isinstance(found, NotReachable)
    assert found.why == (
        "replicas that start 300 s after they are needed come too late for these calls, even 64 at the peak"
    )
    assert found.would == ("`policy: static`",)


def test_poisson_arrivals_are_those_of_the_seed() -> None:
    calls = bursty(5)
    first, second = (by_poisson(calls, QUICK, EASY, seed, 60.0) for seed in (1, 1))
    assert first == second
    assert first is not None
    assert first < (by_replay(calls, QUICK, EASY) or 0) * 3


@pytest.mark.parametrize("policy", ["static", "hourly"])
def test_the_same_week_gives_the_same_plan(policy: str) -> None:
    assert planned(BURSTS, policy=policy) == planned(BURSTS, policy=policy)


def test_it_says_what_it_is_doing() -> None:
    said: list[str] = []
    progress: Callable[[str], None] = said.append
    planned(BURSTS, progress=progress)
    assert "the week on" in " ".join(said)
    assert said[-1] == "servers 0.79 times as fast"


def test_a_curve_leaves_out_what_never_was() -> None:
    assert cdf(np.array([1.0, 2.0, 3.0, np.inf]), 4) == ((1.0, 0.25), (2.0, 0.5), (3.0, 0.75))


def test_midnight_is_no_pause() -> None:
    """A burst on either side of midnight: by themselves the days need fewer than both need together."""
    times = [DAY_S - 0.01] * 40 + [DAY_S + 0.01] * 40
    found = planned(demand_of(times, 4000, 2), Objective(3.0, 10.0), speeds=())
    assert found.replicas > max(found.by_day)
    assert not holds(demand_of(times, 4000, 2), found.replicas - 1, Objective(3.0, 10.0))


def test_speeds_are_compared_in_the_busiest_hours_only_if_these_can_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten hours with ten calls each one has long prompts too: by itself, more than one in twenty is late."""
    monkeypatch.setattr("submeter.report.search.MOST_COMPARED", 1)
    calls = demand_of([3600.0 * hour + 60 * call for hour in range(10) for call in range(10)])
    calls.input_tokens[42] = 20_000
    search = Search(calls, QUICK, Objective(1.0, 0.05))
    assert len(search.compared([]).arrival_s) == 10
    assert len(search.compared([QUICK]).arrival_s) == 100
    assert search.by_speed(1, (0.79, 1.0)) == ((0.79, 1), (1.0, 1))
