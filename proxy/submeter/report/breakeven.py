"""What would turn the verdict: another volume, another GPU price, another API price, and how much each factor moves it.

Costs against the volume are a staircase, replica by replica, which may cross the others' line more than once. Less
volume is calls left out at random. More is shown two ways, between which the truth lies: *superposed*, other callers
with the same day, whose bursts fall elsewhere; and *duplicated*, the same callers more often, whose bursts grow.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal

import msgspec
import numpy as np

from submeter.core.week import DAYS
from submeter.report.document import Curve, Flip, Swing
from submeter.report.trace import Floats, Ints
from submeter.report.workloads import Demand

DAY_S = 86_400.0
WEEK_S = DAYS * DAY_S
SHIFT_S = 1800.0
"""Another caller's day is this one's, up to half an hour earlier or later: bursts part, the day's rhythm stays."""
VOLUMES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0)
"""Each is a plan: not more of them."""
MOST_CALLS = 3_000_000
"""Of a demand that is simulated; larger multiples are left out of the staircase."""
NEAREST, FARTHEST = 0.1, 100.0
"""Flips are looked for up to so many times as much, and down to one so-manieth."""
_STEPS = 400
_HALVINGS = 60

Arrivals = Literal["superposed", "duplicated"]


# ---- the same week with another volume -------------------------------------------------------------------------


def volumes(calls: int, most_calls: int = MOST_CALLS) -> tuple[float, ...]:
    """The multiples to plan for; 1 always."""
    return tuple(each for each in VOLUMES if each <= 1 or each * calls <= most_calls)


def at_volume(demand: Demand, multiple: float, arrivals: Arrivals, seed: int) -> Demand:
    """The demand with ``multiple`` times the calls; a fraction of them chosen by the seed. At 1 it is itself."""
    if multiple == 1:
        return demand
    rng = np.random.default_rng(seed)
    whole, part = divmod(multiple, 1)
    calls = len(demand.arrival_s)
    rows = [np.arange(calls)] * int(whole) + [np.flatnonzero(rng.random(calls) < part)]
    shifts = rng.uniform(-SHIFT_S, SHIFT_S, len(rows)) * (arrivals == "superposed")
    shifts[0] = 0.0  # of recorded calls themselves
    return _ordered(demand, rows, shifts)


def _ordered(demand: Demand, copies: Sequence[Ints], shifts_s: Floats) -> Demand:
    """Copies of calls, each moved, with sessions of its own; what leaves the week at one end enters it at the other."""
    moved = [demand.arrival_s[rows] + shift for rows, shift in zip(copies, shifts_s, strict=True)]
    arrival_s, row = np.concatenate(moved) % WEEK_S, np.concatenate(copies)
    order = np.argsort(arrival_s, kind="stable")
    arrival_s, row = arrival_s[order], row[order]
    copy = np.repeat(np.arange(len(copies)), [len(rows) for rows in copies])[order]
    return Demand(
        arrival_s=arrival_s,
        input_tokens=demand.input_tokens[row],
        output_tokens=demand.output_tokens[row],
        days=(arrival_s // DAY_S).astype(np.int32),
        waits=None if demand.waits is None else demand.waits.taken(row, copy),
    )


# ---- where it turns ----------------------------------------------------------------------------------------------


def staircase(multiples: Sequence[float], cost_usd: Callable[[float], Decimal | None]) -> Curve:
    """``cost_usd`` is asked once for each multiple; where it is not known (no fleet will do), there is no point."""
    points = [(each, cost) for each in multiples if (cost := cost_usd(each)) is not None]
    return Curve(x=tuple(x for x, _ in points), y=tuple(float(y) for _, y in points))


def proportional(multiples: Sequence[float], week_usd: Decimal) -> Curve:
    """What is paid by use."""
    return Curve(x=tuple(multiples), y=tuple(float(week_usd) * each for each in multiples))


def volume_flip(build: Curve, others: Sequence[Curve]) -> Flip:
    """Between two volumes that were planned for, costs are taken as straight lines over the volume."""
    cheapest = np.min([np.interp(build.x, other.x, other.y) for other in others], axis=0)
    return Flip(factor="volume", now=1.0, flips_at=crossings(build.x, np.array(build.y) - cheapest))


def price_flip(
    factor: Literal["gpu_usd_per_hour", "api_price"], now: float, difference_usd: Callable[[float], float]
) -> Flip:
    """``difference_usd``: build less the cheapest other at a multiple of the price: arithmetic, no plan."""
    x = np.geomspace(NEAREST, FARTHEST, _STEPS + 1)
    y = np.array([difference_usd(each) for each in x])
    places = np.flatnonzero(np.sign(y[:-1]) * np.sign(y[1:]) < 0)
    found = [_bisect(difference_usd, float(x[place]), float(x[place + 1])) for place in places]
    met = [float(each) for each in x[1:-1][(y[1:-1] == 0) & (np.sign(y[:-2]) * np.sign(y[2:]) < 0)]]
    return Flip(factor=factor, now=now, flips_at=tuple(sorted(_rounded(each) for each in found + met)))


def crossings(x: Sequence[float], y: Floats) -> tuple[float, ...]:
    """All places where a line through the points changes its sign; a point at 0 is one where its neighbours' differ."""
    at_x, y = np.array(x, dtype=np.float64)[y != 0], y[y != 0]
    places = np.flatnonzero(np.sign(y[:-1]) != np.sign(y[1:]))
    at = at_x[places] + np.diff(at_x)[places] * y[places] / (y[places] - y[places + 1])
    return tuple(_rounded(float(each)) for each in at)


def _bisect(difference: Callable[[float], float], low: float, high: float) -> float:
    rising = difference(high) > 0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if (difference(middle) > 0) == rising else (middle, high)
    return high


def _rounded(multiple: float) -> float:
    """To four significant digits: more would be read as meant."""
    return float(f"{multiple:.4g}")


# ---- how much each factor moves it -----------------------------------------------------------------------------


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """One factor between two values, all others as they are."""

    factor: str
    low: float
    high: float
    unit: str = ""


def tornado(ranges: Sequence[Range], difference_usd: Callable[[str, float], Decimal | None]) -> tuple[Swing, ...]:
    """``difference_usd``: build less the cheapest other with a factor at a value. The widest swing first.

    A factor that leaves the difference unknown at an end is left out.
    """
    found = (_swing(each, difference_usd) for each in ranges)
    return tuple(sorted((each for each in found if each is not None), key=_narrowness))


def _swing(of: Range, difference_usd: Callable[[str, float], Decimal | None]) -> Swing | None:
    at_low, at_high = difference_usd(of.factor, of.low), difference_usd(of.factor, of.high)
    if at_low is None or at_high is None:
        return None
    return Swing(
        factor=of.factor,
        at_low=at_low.quantize(Decimal("0.01")),
        at_high=at_high.quantize(Decimal("0.01")),
        low=f"{of.low:g} {of.unit}".rstrip(),
        high=f"{of.high:g} {of.unit}".rstrip(),
    )


def _narrowness(swing: Swing) -> Decimal:
    return -abs(swing.at_high - swing.at_low)
