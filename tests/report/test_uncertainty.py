"""Draws of cost: do the bands hold what they claim, and are they what the contract says they are made of?"""

from decimal import Decimal

import numpy as np
import pytest

from submeter.report.uncertainty import (
    WEEKEND,
    Fleet,
    band,
    draw,
    model_speed,
    need_ratio,
    p_cheaper,
    p_unmet,
    triangular,
)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def usd(*amounts: float) -> tuple[Decimal, ...]:
    return tuple(Decimal(repr(float(amount))) for amount in amounts)


WEEK = usd(100, 110, 95, 105, 120, 40, 30)


def fleet(
    needs: tuple[int, ...] = (2,) * 7,
    by_speed: tuple[tuple[float, int | None], ...] = ((0.79, 3), (1.0, 2), (1.61, 2)),
    price: tuple[float, float, float] = (3.0, 3.0, 3.0),
    hours: tuple[float, ...] | None = None,
) -> Fleet:
    return Fleet(needs, by_speed, lambda replicas: 2 * (replicas + 1), hours, price, 1000.0)


# ---- coverage --------------------------------------------------------------------------------------------------


def covered(runs: int, sigma: float, seed: int, *, share: float, of_next: bool) -> float:
    """Part of synthetic weeks whose interval holds the planted mean of a week, or the cost of the week after."""
    world, found = rng(seed), 0
    means = np.array([105.0] * 5 + [35.0] * 2)
    for _ in range(runs):
        days, after = means * np.exp(sigma * world.standard_normal((2, 7)) - sigma**2 / 2)
        drawn = draw({"buy": usd(*days)}, {}, world, draws=2000)
        held = band((drawn.next_week if of_next else drawn.week)["buy"], share)
        found += bool(held.low <= (after if of_next else means).sum() <= held.high)
    return found / runs


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.4])
def test_the_95_percent_band_covers_the_planted_mean_in_90_to_98_percent_of_weeks(sigma: float) -> None:
    share = covered(500, sigma, seed=11, share=0.95, of_next=False)
    print(f"days lognormal with sigma {sigma}: the 95 % band covers the truth in {share:.1%} of 500 weeks")
    assert 0.90 <= share <= 0.98


def test_where_weekdays_differ_for_good_the_band_is_too_wide_rather_than_too_narrow() -> None:
    """Mondays that are always busy are no chance, and drawn as if they were."""
    drawn = draw({"buy": usd(90, 95, 100, 105, 110, 35, 35)}, {}, rng()).week["buy"]
    held = band(drawn)
    assert held.low < 570 - 20 < 570 + 20 < held.high


def test_the_80_percent_interval_covers_the_next_week_as_often_as_it_says() -> None:
    share = covered(500, 0.2, seed=12, share=0.8, of_next=True)
    print(f"the 80 % interval holds the next week in {share:.1%} of 500 weeks")
    assert 0.74 <= share <= 0.86


# ---- what the draws are made of --------------------------------------------------------------------------------


def test_weekdays_and_weekend_days_are_drawn_apart() -> None:
    """Five equal weekdays and two equal weekend days leave nothing to chance; mixed up they would."""
    days = usd(100, 100, 100, 100, 100, 10, 10)
    drawn = draw({"buy": days}, {}, rng()).week["buy"]
    assert drawn.min() == drawn.max() == 520
    assert np.ptp(draw({"buy": days}, {}, rng(), weekend=(False,) * 7).week["buy"]) > 100


def test_of_fewer_than_seven_days_all_are_drawn_alike() -> None:
    drawn = draw({"buy": usd(100, 10)}, {}, rng(), weekend=(False, True)).week["buy"]
    assert np.ptp(drawn) > 0
    assert np.median(drawn) == 110


def test_one_day_says_nothing_of_its_spread() -> None:
    assert np.ptp(draw({"buy": usd(100)}, {}, rng(), weekend=(False,)).week["buy"]) == 0


def test_options_are_drawn_on_the_same_days() -> None:
    drawn = draw({"buy": WEEK, "half": tuple(day / 2 for day in WEEK)}, {}, rng())
    assert np.allclose(drawn.week["buy"], 2 * drawn.week["half"])
    assert p_cheaper(drawn.week, "half", ["buy"]) == 1
    assert p_cheaper(drawn.week, "half", []) is None


def test_no_cost_is_negative() -> None:
    assert draw({"buy": usd(1000, 0, 0, 0, 0, 0, 0)}, {}, rng()).week["buy"].min() == 0


def test_the_speed_has_the_bands_of_the_contract() -> None:
    found = np.quantile(model_speed(rng(), 400_000), [0.025, 0.10, 0.90, 0.975])
    assert found == pytest.approx([0.79, 0.88, 1.40, 1.61], abs=0.01)


def test_the_gpu_price_is_triangular() -> None:
    prices = triangular(rng().random(200_000), 2.0, 2.95, 4.0)
    assert 2.0 <= prices.min() <= prices.max() <= 4.0
    assert prices.mean() == pytest.approx((2.0 + 2.95 + 4.0) / 3, abs=0.005)
    assert np.mean(prices < 2.95) == pytest.approx(0.95 / 2.0, abs=0.005)
    for low, mode, high in ((3.0, 3.0, 3.0), (2.0, 2.0, 3.0), (2.0, 3.0, 3.0)):
        ends = triangular(np.array([0.0, 1 - 1e-12]), low, mode, high)
        assert ends == pytest.approx([low, high])


def test_replicas_are_the_largest_need_of_the_drawn_days_at_the_drawn_speed() -> None:
    needs = (1, 1, 1, 1, 4, 1, 1)
    found = draw({}, {"build": fleet(needs, ((1.0, 4),))}, rng(), draws=20_000)
    replicas = found.replicas["build"]
    assert set(replicas.tolist()) >= {1, 2, 3, 4, 5}
    # The one busy weekday is in a draw of five with 1 - 0.8^5; without it one replica, a second where it is slower.
    assert np.mean(replicas > 2) == pytest.approx(1 - 0.8**5, abs=0.02)
    usd_a_week = 2 * (replicas + 1) * 168 * 3.0 + 1000
    assert np.array_equal(found.week["build"], usd_a_week)


def test_the_need_at_a_speed_follows_the_plans_and_beyond_them_its_inverse() -> None:
    by_speed = ((1.61, 3), (1.0, 4), (0.79, 6))
    found = need_ratio(by_speed, np.array([0.395, 0.79, 0.895, 1.0, 1.61, 3.22]))
    assert found == pytest.approx([6 / 4 * 2, 6 / 4, 5 / 4, 1, 3 / 4, 3 / 8])


def test_where_an_engine_too_slow_meets_no_objective_the_draw_is_never_cheaper_and_in_no_band() -> None:
    by_speed = ((0.79, None), (0.9, 3), (1.0, 2), (1.61, 2))
    assert need_ratio(by_speed, np.array([0.85, 0.9])).tolist() == [np.inf, 1.5]
    found = draw({"buy": usd(*[10**6] * 7)}, {"build": fleet(by_speed=by_speed)}, rng())
    unmet = p_unmet(found.week["build"])
    # P(speed < 0.9): the lower piece of the lognormal at z = ln(0.9 / 1.077) / 0.158 = -1.136.
    assert unmet == pytest.approx(0.128, abs=0.02)
    assert p_cheaper(found.week, "build", ["buy"]) == 1 - unmet
    assert band(found.week["build"]).high.is_finite()


def test_a_fleet_that_follows_the_demand_pays_for_the_hours_of_the_drawn_days() -> None:
    hours = (100.0, 100.0, 100.0, 100.0, 100.0, 50.0, 50.0)
    found = draw({}, {"build": fleet(by_speed=((1.0, 2),), hours=hours)}, rng())
    assert np.median(found.week["build"]) == pytest.approx(1000 + 600 * 3 / 1.077, rel=0.02)


def test_a_dearer_gpu_widens_upwards_only() -> None:
    fixed = draw({}, {"build": fleet()}, rng()).week["build"]
    dearer = draw({}, {"build": fleet(price=(3.0, 3.0, 6.0))}, rng()).week["build"]
    assert (dearer >= fixed).all()


def test_the_same_seed_gives_the_same_draws() -> None:
    one, other = (draw({"buy": WEEK}, {"build": fleet()}, rng(3)) for _ in range(2))
    assert one.week["buy"].tobytes() == other.week["buy"].tobytes()
    assert one.week["build"].tobytes() == other.week["build"].tobytes()
    assert len(WEEKEND) == len(WEEK)


def test_a_band_is_in_cents() -> None:
    found = band(np.linspace(0, 100, 4001))
    assert (found.low, found.high) == (Decimal("2.50"), Decimal("97.50"))
