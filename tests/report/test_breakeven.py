"""Other volumes, the places where the verdict turns, and the tornado."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from submeter.report.breakeven import (
    DAY_S,
    SHIFT_S,
    VOLUMES,
    WEEK_S,
    Arrivals,
    Range,
    at_volume,
    crossings,
    price_flip,
    proportional,
    staircase,
    tornado,
    volume_flip,
    volumes,
)
from submeter.report.document import Curve
from submeter.report.workloads import Demand


def bursts(calls: int = 2000, per_burst: int = 20) -> Demand:
    """Bursts at random seconds, all calls of one at the same instant; lengths tell the calls apart."""
    rng = np.random.default_rng(1)
    arrival_s = np.repeat(np.sort(rng.uniform(0, WEEK_S, calls // per_burst)), per_burst)
    tokens = np.arange(calls, dtype=np.int64)
    return Demand(arrival_s, tokens, tokens + 1, (arrival_s // DAY_S).astype(np.int32))


def busiest_second(demand: Demand) -> int:
    return int(np.bincount(demand.arrival_s.astype(np.int64)).max())


@pytest.mark.parametrize("arrivals", ["superposed", "duplicated"])
@pytest.mark.parametrize("multiple", [0.1, 0.5, 1.0, 2.0, 2.5, 10.0])
def test_a_volume_has_so_many_times_the_calls_in_order_within_the_week(multiple: float, arrivals: Arrivals) -> None:
    found = at_volume(bursts(), multiple, arrivals, seed=5)
    assert len(found.arrival_s) == pytest.approx(2000 * multiple, abs=60 if multiple % 1 else 0)
    assert (np.diff(found.arrival_s) >= 0).all()
    assert 0 <= found.arrival_s.min() <= found.arrival_s.max() < WEEK_S
    assert (found.output_tokens == found.input_tokens + 1).all()
    assert np.array_equal(found.days, (found.arrival_s // DAY_S).astype(np.int32))
    again = at_volume(bursts(), multiple, arrivals, seed=5)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(found[:4], again[:4], strict=True))


@pytest.mark.parametrize("arrivals", ["superposed", "duplicated"])
def test_thinning_leaves_calls_out_and_moves_none(arrivals: Arrivals) -> None:
    whole, found = bursts(), at_volume(bursts(), 0.5, arrivals, seed=5)
    assert np.array_equal(found.arrival_s, whole.arrival_s[found.input_tokens])


def test_duplicated_arrivals_pile_up_and_superposed_ones_do_not() -> None:
    whole = bursts()
    assert busiest_second(at_volume(whole, 10, "duplicated", seed=5)) == 10 * busiest_second(whole)
    assert busiest_second(at_volume(whole, 10, "superposed", seed=5)) <= 2 * busiest_second(whole)


def test_superposed_copies_keep_the_hour_of_the_day() -> None:
    at_noon = Demand(*(np.full(100, value) for value in (12 * 3600.0, 1, 1)), np.zeros(100, dtype=np.int32))
    found = at_volume(at_noon, 10, "superposed", seed=5)
    assert np.abs(found.arrival_s - 12 * 3600).max() <= SHIFT_S
    assert np.sum(found.arrival_s == 12 * 3600.0) == 100  # the recorded ones
    assert len(np.unique(found.arrival_s)) == 10


def test_a_copy_that_leaves_the_week_at_one_end_enters_it_at_the_other() -> None:
    at_midnight = Demand(
        np.full(100, WEEK_S - 1), np.ones(100, np.int64), np.ones(100, np.int64), np.full(100, 6, dtype=np.int32)
    )
    found = at_volume(at_midnight, 10, "superposed", seed=5)
    assert found.arrival_s.max() < WEEK_S
    assert set(found.days.tolist()) == {0, 6}


def test_the_multiples_are_few_and_end_where_a_simulation_would_be_too_large() -> None:
    assert volumes(1000) == VOLUMES
    assert len(VOLUMES) <= 8
    assert volumes(1_000_000) == (0.1, 0.25, 0.5, 1.0, 2.0)
    assert volumes(10**9) == (0.1, 0.25, 0.5, 1.0)


# ---- flips -----------------------------------------------------------------------------------------------------


def counted(cost: Callable[[float], Decimal | None], asked: list[float]) -> Callable[[float], Decimal | None]:
    def ask(multiple: float) -> Decimal | None:
        asked.append(multiple)
        return cost(multiple)

    return ask


def test_each_multiple_is_planned_for_once_and_what_is_not_known_is_no_point() -> None:
    asked: list[float] = []
    found = staircase((0.5, 1, 2), counted(lambda x: None if x == 2 else Decimal(100), asked))
    assert asked == [0.5, 1, 2]
    assert found == Curve(x=(0.5, 1), y=(100.0, 100.0))


def test_one_step_crosses_once() -> None:
    """1,000 USD of GPUs whatever the volume, and a bill of 250 USD: from four times the volume on BUILD is cheaper."""
    build = staircase(VOLUMES, lambda _: Decimal(1000))
    assert volume_flip(build, [proportional(VOLUMES, Decimal(250))]).flips_at == (4.0,)
    assert volume_flip(build, [proportional(VOLUMES, Decimal(200))]).flips_at == (5.0,)
    cheaper_host = proportional(VOLUMES, Decimal(20))
    assert volume_flip(build, [proportional(VOLUMES, Decimal(200)), cheaper_host]).flips_at == (50.0,)


def test_a_staircase_may_cross_more_than_once() -> None:
    build = Curve(x=(1, 2, 3, 4), y=(50, 350, 200, 300))
    found = volume_flip(build, [Curve(x=(1, 4), y=(100, 400))])
    assert found.flips_at == pytest.approx((1.25, 2.6))


def test_what_never_crosses_has_no_flip() -> None:
    assert volume_flip(Curve(x=(1, 2), y=(50, 50)), [Curve(x=(1, 2), y=(100, 200))]).flips_at == ()


def test_a_point_that_touches_is_a_crossing_only_where_the_sign_changes() -> None:
    assert crossings((1, 2, 3), np.array([1.0, 0.0, 1.0])) == ()
    assert crossings((1, 2, 3), np.array([1.0, 0.0, -1.0])) == (2.0,)
    assert crossings((1,), np.array([0.0])) == ()


def test_a_price_flips_where_the_arithmetic_says() -> None:
    """Build: 1,500 USD of people and 4,000 of GPUs; BUY 8,000; RENT-OPEN 7,500."""
    gpu = price_flip("gpu_usd_per_hour", 2.95, lambda m: 1500 + 4000 * m - 7500)
    assert (gpu.now, gpu.flips_at) == (2.95, (1.5,))
    api = price_flip("api_price", 1.0, lambda m: 5500 - min(8000 * m, 7500))
    assert api.flips_at == (0.6875,)
    assert price_flip("api_price", 1.0, lambda m: 5500 - min(8000 * m, 4000)).flips_at == ()
    assert price_flip("api_price", 1.0, lambda m: 1000 * m - 1000).flips_at == (1.0,)


# ---- the tornado -----------------------------------------------------------------------------------------------


def test_the_widest_swing_comes_first_and_what_is_unknown_is_left_out() -> None:
    base = {"volume": 1.0, "rent of a GPU": 2.95, "engine speed": 1.0}
    weight = {"volume": -100, "rent of a GPU": 1000, "engine speed": -500}

    def difference(factor: str, value: float) -> Decimal | None:
        return None if factor == "quality" else Decimal(repr((value - base[factor]) * weight[factor]))

    found = tornado(
        [
            Range(factor="volume", low=0.5, high=2, unit="×"),
            Range(factor="rent of a GPU", low=2, high=4, unit="USD/GPU-hour"),
            Range(factor="engine speed", low=0.79, high=1.61),
            Range(factor="quality", low=0, high=1),
        ],
        difference,
    )
    assert [each.factor for each in found] == ["rent of a GPU", "engine speed", "volume"]
    assert (found[0].low, found[0].high) == ("2 USD/GPU-hour", "4 USD/GPU-hour")
    assert (found[0].at_low, found[0].at_high) == (Decimal("-950.00"), Decimal("1050.00"))
    assert (found[1].at_low, found[1].at_high) == (Decimal("105.00"), Decimal("-305.00"))
