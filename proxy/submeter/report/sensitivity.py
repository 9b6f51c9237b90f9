"""What would turn a workload's verdict: the staircase over the volume, where it crosses, and how far each factor goes.

Fleets at other volumes are planned for the busiest stretch of the busiest day alone, and taken in proportion to what
that stretch needs as it was: a plan of the whole week for each point would take minutes.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import NamedTuple

import numpy as np

from submeter.report import fleets, load, plan, uncertainty
from submeter.report.breakeven import (
    Arrivals,
    Range,
    at_volume,
    price_flip,
    proportional,
    staircase,
    tornado,
    volume_flip,
    volumes,
)
from submeter.report.document import Curve, Flip, Staircase, Swing
from submeter.report.fleets import Candidate
from submeter.report.offers import Offered
from submeter.report.reach import why_not
from submeter.report.search import Search
from submeter.report.simulate import engine_of
from submeter.report.verdict import Kind
from submeter.report.workloads import Demand

MOST_CALLS = 60_000
"""Of a simulated stretch at the largest volume."""
MOST_CALLS_BY_REPLICAS = 5_000_000
"""Of one such run, about: with more, each takes seconds, and the staircase ends before that volume."""
STRETCH_CALLS = 20_000
API_PRICES = (1 / 3, 1.0)
"""Of today's: list prices have fallen by factors of 3 to 10 a year, and seldom risen."""
VOLUMES_SWUNG = (0.5, 2.0)
PEOPLE = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Turning:
    flips: tuple[Flip, ...] = ()
    staircase: Staircase | None = None
    tornado: tuple[Swing, ...] = ()


def of(
    chosen: Mapping[Kind, Offered],
    fleet: Candidate | None,
    seed: int,
) -> Turning:
    """Nothing, where no build has a price or there is nothing to hold it against."""
    others = {
        kind: each.week_usd
        for kind, each in chosen.items()
        if kind != "build" and each.week_usd is not None and each.quality is not False
    }
    if fleet is None or "build" not in chosen or not others:
        return Turning()
    costs = _Costs(fleet, seed)
    multiples = volumes(len(costs.stretch.arrival_s), MOST_CALLS)
    lines = {kind: proportional(multiples, usd) for kind, usd in others.items()}
    stairs = {arrivals: staircase(multiples, costs.at(arrivals)) for arrivals in ("superposed", "duplicated")}
    rivals = _Rivals(*(float(others.get(kind, "inf")) for kind in ("buy", "rent")))
    least = rivals.least()
    found = Staircase(
        buy=lines.get("buy", Curve(x=(), y=())),
        rent=lines.get("rent"),
        build_independent=stairs["superposed"],
        build_correlated=stairs["duplicated"],
    )
    flips = [
        volume_flip(stairs["superposed"], tuple(lines.values())),
        price_flip("gpu_usd_per_hour", costs.usd_per_gpu_hour, lambda times: costs.week_usd(gpu_price=times) - least),
    ]
    if "buy" in others:
        flips.append(price_flip("api_price", rivals.api_usd, lambda times: costs.week_usd() - rivals.least(times)))
    swings = tornado(_ranges(costs, others), lambda factor, value: _difference(factor, value, costs, rivals))
    return Turning(tuple(flips), found, swings)


class _Rivals(NamedTuple):
    """What the build is held against, USD a week; infinite: there is none."""

    api_usd: float
    rent_usd: float

    def least(self, api_price: float = 1.0) -> float:
        """With the API at so many times its price: the host's is another."""
        return min(api_price * self.api_usd, self.rent_usd)


class _Costs:
    """What the fleet costs a week when one thing is otherwise; drawn figures, so floats."""

    def __init__(self, fleet: Candidate, seed: int) -> None:
        self._fleet, self._seed = fleet, seed
        drawn = fleets.drawn(fleet)
        self.low, self.usd_per_gpu_hour, self.high = drawn.usd_per_gpu_hour
        self.fixed_usd, self._by_speed = drawn.fixed_usd, drawn.by_speed
        self._hours = None if drawn.gpu_hours_by_day is None else sum(drawn.gpu_hours_by_day)
        self.stretch = _stretch(fleet)
        self._per_volume = float(fleet.plan.replicas)
        self._need = cache(self._needed)

    def week_usd(self, *, replicas: float | None = None, gpu_price: float = 1.0, people: float = 1.0) -> float:
        planned = self._fleet.plan.replicas
        serving = planned if replicas is None else replicas
        if self._hours is None:
            hours: float = fleets.gpus_of(self._fleet, int(np.ceil(serving))) * uncertainty.WEEK_HOURS
        else:
            hours = self._hours * serving / planned
        return hours * self.usd_per_gpu_hour * gpu_price + self.fixed_usd * people

    def at(self, arrivals: Arrivals) -> Callable[[float], Decimal | None]:
        """Of a multiple of the volume."""

        def cost(multiple: float) -> Decimal | None:
            replicas = self.replicas(multiple, arrivals)
            return None if replicas is None else Decimal(repr(self.week_usd(replicas=replicas)))

        return cost

    def replicas(self, multiple: float, arrivals: Arrivals = "superposed") -> int | None:
        now, then = self._need(1.0, "superposed"), self._need(multiple, "superposed" if multiple <= 1 else arrivals)
        if now is None or then is None:
            return None
        return max(1, -(-self._fleet.plan.replicas * then // now))

    def at_speed(self, speed: float) -> int | None:
        return dict(self._by_speed).get(speed)

    def _needed(self, multiple: float, arrivals: Arrivals) -> int | None:
        """Looked for from what the last volume needed, in proportion: bursts need far more than averages say."""
        demand = at_volume(self.stretch, multiple, arrivals, self._seed)
        if not len(demand.arrival_s):
            return 1
        server, objective, guess = self._fleet.server, self._fleet.objective, round(self._per_volume * multiple)
        too_much = guess * len(demand.arrival_s) > MOST_CALLS_BY_REPLICAS and multiple > 1
        if too_much or why_not(demand, server, objective) is not None:
            return None
        need = Search(demand, server, objective).least_for(demand, server, guess)
        if need is not None:
            self._per_volume = need / multiple
        return need


def _stretch(fleet: Candidate) -> Demand:
    """The busiest hours of the busiest day, as many as have not too many calls."""
    demand = fleet.demand
    by_hour = load.Load(demand, engine_of(fleet.server)).by_hour
    first = int(np.argmax(by_hour))
    hours = next((n for n in (6, 3, 2) if _calls(demand, first, n) <= STRETCH_CALLS), 1)
    return load.between(demand, *_span(first, hours))


def _span(first: int, hours: int) -> tuple[float, float]:
    """The busiest hour in it, and within its day."""
    start = max(first - hours // 2, first // 24 * 24)
    start = min(start, (first // 24 + 1) * 24 - hours)
    return float(start * load.HOUR_S), float((start + hours) * load.HOUR_S)


def _calls(demand: Demand, first: int, hours: int) -> int:
    return len(load.between(demand, *_span(first, hours)).arrival_s)


def _ranges(costs: _Costs, others: Collection[Kind]) -> list[Range]:
    slow, fast = plan.SPEEDS[0], plan.SPEEDS[-1]
    found = [
        Range(factor="speed of the engine", low=slow, high=fast, unit="of predicted"),
        Range(factor="volume", low=VOLUMES_SWUNG[0], high=VOLUMES_SWUNG[1], unit="times"),
    ]
    if "buy" in others:
        found.append(Range(factor="API price", low=API_PRICES[0], high=API_PRICES[1], unit="times"))
    if costs.low != costs.high:
        found.append(Range(factor="GPU price", low=costs.low, high=costs.high, unit="USD/h"))
    if costs.fixed_usd:
        found.append(Range(factor="people and other fixed costs", low=PEOPLE[0], high=PEOPLE[1], unit="times"))
    return found


def _difference(factor: str, value: float, costs: _Costs, rivals: _Rivals) -> Decimal | None:
    """Build less the cheapest other, USD a week."""
    least = rivals.least()
    if factor == "speed of the engine":
        replicas = costs.at_speed(value)
        return None if replicas is None else _usd(costs.week_usd(replicas=replicas) - least)
    if factor == "volume":
        replicas = costs.replicas(value)
        return None if replicas is None else _usd(costs.week_usd(replicas=replicas) - value * least)
    if factor == "API price":
        return _usd(costs.week_usd() - rivals.least(value))
    if factor == "GPU price":
        return _usd(costs.week_usd(gpu_price=value / costs.usd_per_gpu_hour) - least)
    return _usd(costs.week_usd(people=value) - least)


def _usd(value: float) -> Decimal:
    return Decimal(repr(value))
