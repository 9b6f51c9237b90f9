"""How many replicas meet the objective, by replay of the calls, with the proof that one fewer does not.

A fleet is bought as ``replicas + spare``: with one down, ``replicas`` serve and still meet the objective on each
UTC day of the week, as all do; ``replicas - 1`` do not. (Of small fleets more replicas are not always better: prompts
meet in other batches. So a fleet is only taken if it holds with and without the spare one.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from submeter.core.week import DAYS
from submeter.report import load, policies
from submeter.report.alternatives import Policy as PolicyName
from submeter.report.catalog import Server
from submeter.report.reach import NotReachable, Objective, why_not
from submeter.report.search import Progress, Search, silent
from submeter.report.simulate import Floats, Served, engine_of
from submeter.report.workloads import Demand

__all__ = [
    "Latency",
    "NotReachable",
    "Objective",
    "Plan",
    "Quantiles",
    "averages",
    "by_poisson",
    "by_replay",
    "plan",
]

SPARE = 1
SPEEDS = (0.79, 0.88, 1.0, 1.18, 1.40, 1.61)
"""True ÷ predicted speed for which the plan is asked again: the ends of the model's 80 and 95 % bands, and between."""
MOST_REACTIVE = 8
"""Times the static fleet, until an autoscaler is given up."""
CURVE_POINTS = 60


@dataclass(frozen=True, slots=True)
class Quantiles:
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What the calls of a run met, in seconds; ``inf``: they never fit."""

    ttft_s: Quantiles
    tpot_s: Quantiles | None
    """``None``: no answer had two tokens."""
    ttft_p95_by_day_s: tuple[float | None, ...]
    tpot_p95_by_day_s: tuple[float | None, ...]
    """Monday first; ``None``: no such calls. What the objective is about."""
    ttft_cdf: tuple[tuple[float, float], ...]
    """(TTFT, share of the calls that had their first token by then)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The smallest fleet that meets the objective on each day of the week."""

    policy: PolicyName
    replicas: int
    """That serve at the week's peak with one down: they meet the objective, one fewer does not."""
    spare: int
    by_day: tuple[int, ...]
    """What each day needs by itself, Monday first; 0: no calls."""
    by_speed: tuple[tuple[float, int | None], ...]
    """(speed, replicas) if servers are so much faster than predicted; ``None``: then no number of them will do."""
    replicas_by_hour: tuple[int, ...]
    """Paid for in each of the 168 hours, the spare one included."""
    averages: float
    """Replicas by averages over the days with calls."""
    poisson: int | None
    """Replicas if the calls came at the same mean rate, independently of each other; ``None``: no number will do."""
    proof: Latency
    """All serve; of many calls, a sample of hours."""
    proof_one_down: Latency
    """``replicas`` serve: the objective holds."""
    hourly_demand: tuple[float, ...]
    """Replicas by the averages of each of the 168 hours."""
    utilisation: float
    """The work of the week over what ``replicas`` could do at full batches while they are there."""

    @property
    def replica_hours_by_day(self) -> tuple[int, ...]:
        """Paid for, the spare one included."""
        return tuple(sum(self.replicas_by_hour[24 * day : 24 * day + 24]) for day in range(DAYS))


def plan(
    demand: Demand,
    server: Server,
    objective: Objective,
    policy: PolicyName = "static",
    *,
    seed: int = 0,
    speeds: Sequence[float] = SPEEDS,
    progress: Progress = silent,
) -> Plan | NotReachable:
    """``demand``: at least one call. ``seed``: of the Poisson arrivals; all else is as recorded.

    Averages and Poisson arrivals know no sessions.
    """
    unreachable = why_not(demand, server, objective)
    if unreachable is not None:
        return unreachable
    search = Search(demand, server, objective, progress)
    found = _found(search, policy)
    if isinstance(found, NotReachable):
        return found
    peak, one_down, all_up = found
    provision = search.policy(peak)
    work_s = float(search.load.work_s.sum())
    return Plan(
        policy=policy,
        replicas=peak,
        spare=SPARE,
        by_day=search.by_day(peak),
        by_speed=search.by_speed(peak, speeds),
        replicas_by_hour=tuple(each + SPARE for each in provision.paid_by_hour),
        averages=work_s / (len(load.days_with_calls(demand)) * load.DAY_S),
        poisson=by_poisson(demand, server, objective, seed),
        proof=_latency(load.hours_of(demand), all_up),
        proof_one_down=_latency(demand, one_down),
        hourly_demand=tuple(search.load.by_hour.tolist()),
        utilisation=work_s / (sum(provision.paid_by_hour) * load.HOUR_S),
    )


def _found(search: Search, policy: PolicyName) -> tuple[int, Served, Served] | NotReachable:
    """The peak, the week on it and, of many calls in a sample, the week with the spare one as well."""
    if policy == "hourly":
        search.policy = policies.hourly(search.load.by_hour)
    found = _proven(search)
    if found is None:
        return NotReachable(f"{search.most:,} replicas are not enough", ("a GPU or precision that is faster",))
    if policy != "reactive":
        return found
    peak, served, _ = found
    search.policy = policies.reactive(served.arrival_s, served.done_s)
    search.most = min(search.most, peak * MOST_REACTIVE)
    late = f"replicas that start {policies.COLD_START_S:g} s after they are needed come too late for these calls"
    return _proven(search) or NotReachable(f"{late}, even {search.most:,} at the peak", ("`policy: static`",))


def _proven(search: Search) -> tuple[int, Served, Served] | None:
    shown, above = load.hours_of(search.demand), 0
    while (found := search.week(above)) is not None:
        peak, one_down = found
        search.progress(f"{peak + SPARE} replicas")
        all_up = search.run(shown, search.policy(peak).plus(SPARE))
        if not all_up.gave_up:
            return peak, one_down, all_up
        above = peak
    return None


def averages(demand: Demand, server: Server, seconds: float | None = None) -> float:
    """Replicas by averages: how long one that never idles takes, over ``seconds`` (``None``: the days with calls)."""
    return load.saturated_s(engine_of(server), demand) / _seconds(demand, seconds)


def by_poisson(
    demand: Demand, server: Server, objective: Objective, seed: int, seconds: float | None = None
) -> int | None:
    """Replicas for as many calls of the same lengths that come independently of each other; of many, a sample.

    ``seconds`` as in ``averages``; ``None``: no number will do.
    """
    some = load.sample(demand)
    calls, share = len(some.arrival_s), len(some.arrival_s) / len(demand.arrival_s)
    drawn = np.random.default_rng(seed)
    order = drawn.permutation(calls)
    arrival_s = np.sort(drawn.uniform(0, _seconds(demand, seconds) * share, calls))
    days = (arrival_s // load.DAY_S).astype(np.int32)
    return by_replay(Demand(arrival_s, some.input_tokens[order], some.output_tokens[order], days), server, objective)


def by_replay(demand: Demand, server: Server, objective: Objective) -> int | None:
    """Replicas of a static fleet that the calls need as they came; ``None``: no number will do."""
    if why_not(demand, server, objective) is not None:
        return None
    found = Search(demand, server, objective).week()
    return None if found is None else found[0]


def _seconds(demand: Demand, seconds: float | None) -> float:
    return len(load.days_with_calls(demand)) * load.DAY_S if seconds is None else seconds


def _latency(demand: Demand, served: Served) -> Latency:
    tpot_s = served.tpot_s[~np.isnan(served.tpot_s)]
    by_day = [[_p95(values[demand.days == day]) for day in range(DAYS)] for values in (served.ttft_s, served.tpot_s)]
    return Latency(
        ttft_s=_quantiles(served.ttft_s),
        tpot_s=_quantiles(tpot_s) if len(tpot_s) else None,
        ttft_p95_by_day_s=tuple(by_day[0]),
        tpot_p95_by_day_s=tuple(by_day[1]),
        ttft_cdf=cdf(served.ttft_s),
    )


def cdf(values: Floats, points: int = CURVE_POINTS) -> tuple[tuple[float, float], ...]:
    """(value, share at most that) at evenly spaced shares up to 1, values not finite left out at the end."""
    shares = np.arange(1, points + 1) / points
    found = np.quantile(values, shares, method="inverted_cdf")
    return tuple((value, share) for value, share in zip(found.tolist(), shares.tolist(), strict=True) if value < np.inf)


def _quantiles(values: Floats) -> Quantiles:
    return Quantiles(*np.quantile(values, [0.5, 0.95, 0.99], method="inverted_cdf").tolist())


def _p95(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, 0.95, method="inverted_cdf")) if len(known) else None
