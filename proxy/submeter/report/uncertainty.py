"""How sure the week's costs are: days drawn again, the model's band and the range of GPU prices, all at once.

A draw resamples the week's days with replacement (weekdays and weekend days apart, so that a draw keeps five and two),
takes one speed of the simulated engine and one GPU price, and prices every option on the same days: what makes one
option dear makes the others dear too. Draws of cost are floats; the figures beside them in a report are exact.

Seven days are few, and a plain percentile bootstrap of them covers too little: its spread is that of n, not of n - 1,
and its tails are normal. So each stratum's deviations are stretched by sqrt(n / (n - 1)) and a draw's by one common
sqrt(df / chi-square(df)), which turns them into t's ("What Teachers Should Know About the Bootstrap", 2014, section 4.2
on narrowness bias and expanded percentiles, arXiv:1411.5279; the stretch here is per draw, so that it holds at every
level and in the odds). What is left out: growth, and days worse than the worst that was seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import log

import numpy as np

from submeter.core.week import DAYS
from submeter.report.document import Band
from submeter.report.trace import Floats, Ints

DRAWS = 4000
WEEK_HOURS = 24 * DAYS
WEEKEND = (False, False, False, False, False, True, True)
"""Of the days from Monday on."""

MODEL_MEDIAN, MODEL_SIGMA_BELOW, MODEL_SIGMA_ABOVE = 1.077, 0.158, 0.205
"""True over predicted throughput: a lognormal in two pieces, joined at the median, each with half of the probability.
Its 95 % are [0.79, 1.61] and its 80 % [0.88, 1.40], the two bands that were measured: four figures by three constants.
"""
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the draws ask of a fleet."""

    needs_by_day: tuple[int, ...]
    """Serving replicas that each day needs for the objective, as predicted."""
    by_speed: tuple[tuple[float, int | None], ...]
    """Serving replicas that the week needs were the engine so many times as fast; at 1 it is as predicted. ``None``: no
    number of them meets the objective."""
    gpus: Callable[[int], int]
    """GPUs that are paid for so many serving replicas, with the spare, the staging ones and whole nodes."""
    gpu_hours_by_day: tuple[float, ...] | None
    """As they follow the demand; ``None``: in every hour what the most needy of the drawn days needs."""
    usd_per_gpu_hour: tuple[float, float, float]
    """Low, most likely, high. Of owned hardware, what a node costs a week over its GPUs and hours."""
    fixed_usd: float
    """A week: people, storage, traffic."""


@dataclass(frozen=True, slots=True)
class Draws:
    """USD a week of each option, one per draw; equal places are the same draw."""

    week: Mapping[str, Floats]
    """Of a week like this one: what such weeks cost on average. Infinite: no fleet meets the objective."""
    next_week: Mapping[str, Floats]
    """Of the next week, with its own chance added."""
    replicas: Mapping[str, Floats]
    """Serving, of each fleet: whole numbers, or infinite."""


def draw(
    paid_by_use: Mapping[str, Sequence[Decimal]],
    fleets: Mapping[str, Fleet],
    rng: np.random.Generator,
    weekend: Sequence[bool] = WEEKEND,
    draws: int = DRAWS,
) -> Draws:
    """``paid_by_use``: USD by day of options at list prices, which have no range. ``weekend``: of the same days."""
    strata = _strata(weekend)
    picked, again = (_pick(strata, draws, rng) for _ in range(2))
    stretch = _t_stretch(strata, draws, rng)
    speed, price = model_speed(rng, draws), rng.random(draws)
    week, next_week, replicas = {}, {}, {}
    for name, usd_by_day in paid_by_use.items():
        days = np.array([float(usd) for usd in usd_by_day])
        estimate, chance = _deviation(days, picked, strata), _deviation(days, again, strata)
        week[name] = np.maximum(days.sum() + stretch * estimate, 0)
        next_week[name] = np.maximum(days.sum() + stretch * (estimate + chance), 0)
    for name, fleet in fleets.items():
        replicas[name] = _replicas(fleet, picked, speed)
        hours = _gpu_hours(fleet, replicas[name], picked, strata, stretch, speed)
        week[name] = fleet.fixed_usd + hours * triangular(price, *fleet.usd_per_gpu_hour)
        next_week[name] = week[name]
    return Draws(week, next_week, replicas)


def p_cheaper(week: Mapping[str, Floats], name: str, rivals: Sequence[str]) -> float | None:
    """The share of draws in which ``name`` costs less than each rival; ``None``: it has none."""
    if not rivals:
        return None
    return float(np.mean(week[name] < np.min([week[rival] for rival in rivals], axis=0)))


def p_unmet(usd: Floats) -> float:
    """The share of draws in which the engine is too slow for the objective, however many replicas there are."""
    return float(np.mean(np.isinf(usd)))


def band(usd: Floats, share: float = 0.95) -> Band:
    """The middle ``share`` of the draws in which the objective can be met, in whole cents."""
    low, high = np.quantile(usd[np.isfinite(usd)], [(1 - share) / 2, (1 + share) / 2])
    return Band(low=_cents(low), high=_cents(high))


def _cents(usd: float) -> Decimal:
    return Decimal(repr(float(usd))).quantize(_CENT)


# ---- days drawn again --------------------------------------------------------------------------------------------


def _strata(weekend: Sequence[bool]) -> list[Ints]:
    """Places of the days to draw from, apart. Fewer than seven days are one stratum: a lone Sunday has no spread."""
    flags = np.array(weekend, dtype=np.bool_)
    if len(flags) < DAYS:
        return [np.arange(len(flags))]
    return [places for places in (np.flatnonzero(~flags), np.flatnonzero(flags)) if len(places)]


def _pick(strata: list[Ints], draws: int, rng: np.random.Generator) -> list[Ints]:
    """Of each stratum, ``draws`` times as many of its days as it has."""
    return [days[rng.integers(0, len(days), (draws, len(days)))] for days in strata]


def _t_stretch(strata: list[Ints], draws: int, rng: np.random.Generator) -> Floats:
    freedom = max(1, sum(len(days) - 1 for days in strata))
    return np.sqrt(freedom / rng.chisquare(freedom, draws))


def _deviation(by_day: Floats, picked: list[Ints], strata: list[Ints]) -> Floats:
    """Of the drawn days' sum from that of the days, with the spread of n - 1."""
    total: Floats = np.zeros(len(picked[0]))
    for days, drawn in zip(strata, picked, strict=True):
        total += np.sqrt(len(days) / max(1, len(days) - 1)) * (by_day[drawn].sum(axis=1) - by_day[days].sum())
    return total


# ---- the fleet ---------------------------------------------------------------------------------------------------


def model_speed(rng: np.random.Generator, draws: int) -> Floats:
    """True over predicted throughput."""
    z = rng.standard_normal(draws)
    return np.exp(log(MODEL_MEDIAN) + z * np.where(z < 0, MODEL_SIGMA_BELOW, MODEL_SIGMA_ABOVE))


def triangular(uniform: Floats, low: float, mode: float, high: float) -> Floats:
    """The triangular distribution's quantiles; all ``mode`` where the price is fixed."""
    if low == high:
        return np.full(len(uniform), mode)
    rising = low + np.sqrt(uniform * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - uniform) * (high - low) * (high - mode))
    return np.where(uniform < (mode - low) / (high - low), rising, falling)


def need_ratio(by_speed: Sequence[tuple[float, int | None]], speed: Floats) -> Floats:
    """Replicas needed at a speed over those needed as predicted: linear between the speeds that were planned for, in
    proportion to 1 / speed beyond them, infinite below the slowest that will do where a slower one will not."""
    known = sorted((each, replicas) for each, replicas in by_speed if replicas is not None)
    speeds, replicas = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
    within = np.clip(speed, speeds[0], speeds[-1])
    ratio = np.interp(within, speeds, replicas) / np.interp(1.0, speeds, replicas) * within / speed
    too_slow = any(each < speeds[0] for each, _ in by_speed)
    return np.where((speed < speeds[0]) & too_slow, np.inf, ratio)


def _replicas(fleet: Fleet, picked: list[Ints], speed: Floats) -> Floats:
    needs = np.array(fleet.needs_by_day, dtype=np.int64)
    most = np.maximum(1, np.max([needs[drawn].max(axis=1) for drawn in picked], axis=0))
    whole: Floats = np.ceil(most * need_ratio(fleet.by_speed, speed) - 1e-9)
    return whole


def _gpu_hours(
    fleet: Fleet, replicas: Floats, picked: list[Ints], strata: list[Ints], stretch: Floats, speed: Floats
) -> Floats:
    if fleet.gpu_hours_by_day is None:
        counts, places = np.unique(replicas, return_inverse=True)
        gpus = np.array([fleet.gpus(int(count)) if np.isfinite(count) else np.inf for count in counts])
        return gpus[places] * WEEK_HOURS
    days = np.array(fleet.gpu_hours_by_day, dtype=np.float64)
    hours: Floats = np.maximum(days.sum() + stretch * _deviation(days, picked, strata), 0)
    return hours * need_ratio(fleet.by_speed, speed)
