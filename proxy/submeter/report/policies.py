"""How the number of replicas follows the demand: static, by the hour of the week, or by what is in flight.

Each policy is a family with one number, its peak: more peak is never fewer replicas at any time. So one search finds
the least peak that meets the objective, whichever the policy. The spare replica (N+1) is not in it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from submeter.core.week import DAYS
from submeter.report.engine import NEVER
from submeter.report.load import DAY_S, HOUR_S, HOURS
from submeter.report.simulate import Floats, Ints, Schedule

COLD_START_S = 300.0
"""From the decision until a new replica takes calls: a GPU is found, the weights are loaded, graphs are captured."""
HOLD_S = 300.0
"""A replica goes only after so long without need of it, as in Kubernetes' horizontal pod autoscaler ("stabilization
window", default of ``scaleDown``)."""
TICK_S = 15.0
"""Between two looks at what is in flight, as there (``--horizontal-pod-autoscaler-sync-period``)."""


@dataclass(frozen=True, slots=True)
class Provision:
    """Replicas over the week."""

    schedule: Schedule
    """That take calls."""
    paid_by_hour: tuple[int, ...]
    """In each of the 168 hours; where they change within one, the hour's mean, rounded up."""

    def plus(self, replicas: int) -> "Provision":
        """With so many more at all times."""
        schedule = [(from_s, each + replicas) for from_s, each in self.schedule]
        return Provision(schedule, tuple(each + replicas for each in self.paid_by_hour))


Policy = Callable[[int], Provision]
"""From the peak."""


def static(peak: int) -> Provision:
    return Provision([(-NEVER, peak)], (peak,) * HOURS)


def hourly(demand_by_hour: Floats) -> Policy:
    """As many in each hour as its average demand has of the busiest hour's, at least one; warm on the hour.

    The hours are those of the very week that is served: nobody knows them so well in advance, so this is the most that
    a schedule can save.
    """
    shares = demand_by_hour / demand_by_hour.max()

    def provision(peak: int) -> Provision:
        # Without the rounding, 10 × 0.3 would be above 3.
        replicas = tuple(max(1, math.ceil(round(peak * share, 9))) for share in shares.tolist())
        return Provision([(hour * HOUR_S, each) for hour, each in enumerate(replicas)], replicas)

    return provision


def reactive(arrival_s: Floats, done_s: Floats, cold_start_s: float = COLD_START_S, hold_s: float = HOLD_S) -> Policy:
    """A replica for every so many calls in flight (the most that ever are ÷ peak), ready ``cold_start_s`` later.

    ``done_s``: of a run on a fleet that suffices at any time. So a backlog does not itself call for more replicas, and
    there is no oscillation; a real autoscaler is at best as steady. A replica is paid for from the decision on.
    """
    flying = _in_flight(arrival_s, done_s)
    most = max(flying.max(), 1.0)
    start, hold = (round(seconds / TICK_S) for seconds in (cold_start_s, hold_s))

    def provision(peak: int) -> Provision:
        wanted = np.maximum(np.ceil(np.round(flying * (peak / most), 9)), 1).astype(np.int64)
        ready = _most_of_last(np.concatenate([np.full(start, wanted[0]), wanted[: len(wanted) - start]]), hold)
        paid = _most_of_last(wanted, start + hold)
        changes = np.flatnonzero(np.diff(ready, prepend=0))
        per_hour = paid.reshape(HOURS, -1).mean(axis=1)
        return Provision(
            [(float(tick * TICK_S), int(ready[tick])) for tick in changes],
            tuple(math.ceil(hour) for hour in per_hour),
        )

    return provision


def _in_flight(arrival_s: Floats, done_s: Floats) -> Floats:
    """Calls that are there at each tick of the week, by which the autoscaler decides."""
    ticks = np.arange(round(DAYS * DAY_S / TICK_S)) * TICK_S
    done = np.sort(done_s[np.isfinite(done_s)])
    came = np.searchsorted(np.sort(arrival_s[np.isfinite(done_s)]), ticks, side="right")
    there: Floats = (came - np.searchsorted(done, ticks, side="right")).astype(np.float64)
    return there


def _most_of_last(values: Ints, ticks: int) -> Ints:
    """Of each tick and so many before it."""
    padded = np.concatenate([np.full(ticks, values[0]), values])
    most: Ints = np.lib.stride_tricks.sliding_window_view(padded, ticks + 1).max(axis=1)
    return most
