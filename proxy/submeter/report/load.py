"""What calls ask of a replica when nobody else is there, and when it never idles: figures without a fleet.

``alone`` is the least latency that a call can meet; ``Load`` the seconds of a full replica that calls take, by hour and
minute. Both are arithmetic over the step time; the seconds are scaled to those of a simulated run that never idles.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import count
from math import gcd

import numpy as np
from numpy.typing import NDArray

from submeter.core.week import DAYS
from submeter.report.engine import Limits, StepTime
from submeter.report.simulate import Engine, Floats, Ints, simulate
from submeter.report.workloads import Demand

HOUR_S = 3600
DAY_S = 24 * HOUR_S
HOURS = 24 * DAYS
MOST_SAMPLED = 20_000
"""Calls whose run stands for all: a hundred times the slots, so that start and end of the run weigh little."""
MOST_SHOWN = 150_000
"""Calls, about, whose latencies stand for those of all."""


def days_with_calls(demand: Demand) -> list[int]:
    return [int(day) for day in np.unique(demand.days)]


def of_day(demand: Demand, day: int) -> Demand:
    return between(demand, day * DAY_S, (day + 1) * DAY_S)


def between(demand: Demand, from_s: float, until_s: float) -> Demand:
    first, last = np.searchsorted(demand.arrival_s, [from_s, until_s])
    return _taken(demand, slice(first, last))


def sample(demand: Demand, most: int = MOST_SAMPLED) -> Demand:
    """At most so many calls, evenly spread over all."""
    calls = len(demand.arrival_s)
    places = np.arange(min(calls, most)) * calls // min(calls, most) if calls else np.arange(0)
    return _taken(demand, places)


def hours_of(demand: Demand, most: int = MOST_SHOWN) -> Demand:
    """All calls (at least one), or about so many: those of each fifth hour, or seventh …, so of all times of day."""
    every = next(n for n in count(-(-len(demand.arrival_s) // most)) if gcd(n, 24) == 1)
    hour = demand.arrival_s // HOUR_S
    return _taken(demand, (hour - hour[0]) % every == 0)


def fitting(demand: Demand, limits: Limits) -> Demand:
    """Without the calls that are larger than a whole key-value cache."""
    fits = np.maximum(demand.input_tokens, 1) + np.maximum(demand.output_tokens, 1) <= limits.kv_tokens
    return _taken(demand, fits)


def _taken(demand: Demand, rows: slice | Ints | NDArray[np.bool_]) -> Demand:
    """Who waited for a call that is not taken arrives as recorded."""
    return Demand(
        demand.arrival_s[rows],
        demand.input_tokens[rows],
        demand.output_tokens[rows],
        demand.days[rows],
        None if demand.waits is None else demand.waits.taken(np.arange(len(demand.arrival_s))[rows]),
    )


def alone(engine: Engine, input_tokens: Ints, output_tokens: Ints) -> tuple[Floats, Floats]:
    """TTFT and TPOT (s; NaN for a single token) on an idle replica, as ``simulate`` has them; ``inf``: never fits."""
    step, chunk = engine.step, engine.limits.chunk_tokens
    inputs, outputs = np.maximum(input_tokens, 1), np.maximum(output_tokens, 1)
    chunks, rest = np.divmod(inputs, chunk)
    first_s = chunks * step.base(0, chunk) + _base_s(step, rest)
    earlier_tokens = chunk * (chunks * (chunks - 1) / 2 + np.where(rest > 0, chunks, 0))
    first_s = first_s + step.kv_s_per_token * earlier_tokens + step.attention_s * inputs * (inputs / 2)
    tpot_s = step.base(1) + step.kv_s_per_token * (inputs + 1 + (outputs - 2) / 2)
    never = inputs + outputs > engine.limits.kv_tokens
    single = np.where(outputs > 1, tpot_s, np.nan)
    return np.where(never, np.inf, first_s + engine.host_overhead_s), np.where(never, np.inf, single)


def _base_s(step: StepTime, prompt_tokens: Ints) -> Floats:
    """Of an iteration with so many prompt tokens and nothing else; 0 of none."""
    each, place = np.unique(prompt_tokens, return_inverse=True)
    return np.array([step.base(0, int(tokens)) if tokens else 0.0 for tokens in each])[place]


def saturated_s(engine: Engine, demand: Demand) -> float:
    """How long one replica takes that has all these calls from the start; those that never fit are left out."""
    calls = fitting(demand, engine.limits)
    some = sample(calls)
    if not len(some.arrival_s):
        return 0.0
    served = simulate(np.zeros(len(some.arrival_s)), some.input_tokens, some.output_tokens, engine, 1)
    run_s = float(served.done_s.max()) - engine.host_overhead_s
    return run_s * len(calls.arrival_s) / len(some.arrival_s)


@dataclass(frozen=True)
class Load:
    """The work of calls, in seconds of one replica that never idles."""

    demand: Demand
    engine: Engine

    @cached_property
    def work_s(self) -> Floats:
        """Of each call; together ``saturated_s``."""
        shares = _shares(self.engine, self.demand)
        scaled: Floats = shares * (saturated_s(self.engine, self.demand) / shares.sum())
        return scaled

    @cached_property
    def by_hour(self) -> Floats:
        """Replicas that the averages of each of the 168 hours ask for."""
        return _in_bins(self.demand.arrival_s, self.work_s, HOUR_S, HOURS) / HOUR_S

    def crowding(self) -> dict[int, float]:
        """By day: of the work that comes in a call's own minute, in replicas, the 95th percentile over the calls.

        A guess of what the day needs, that sees bursts where an hour's average does not.
        """
        minutes = _in_bins(self.demand.arrival_s, self.work_s, 60, HOURS * 60) / 60
        of_call = minutes[(self.demand.arrival_s // 60).astype(np.int64)]
        return {day: float(np.quantile(of_call[self.demand.days == day], 0.95)) for day in days_with_calls(self.demand)}


def _in_bins(arrival_s: Floats, work_s: Floats, bin_s: int, bins: int) -> Floats:
    sums: Floats = np.bincount((arrival_s // bin_s).astype(np.int64), work_s, bins).astype(np.float64)
    return sums


def _shares(engine: Engine, demand: Demand) -> Floats:
    """What calls take beside each other: full iterations of prompts, and decodes in as large a batch as there is room.

    Too much by what prompts and decodes save in sharing iterations, so only the proportions are used.
    """
    step, limits = engine.step, engine.limits
    inputs, outputs = np.maximum(demand.input_tokens, 1), np.maximum(demand.output_tokens, 1)
    batch = int(max(1, min(limits.slots, limits.kv_tokens / np.mean(inputs + outputs))))
    prompt_s = inputs * (step.base(0, limits.chunk_tokens) / limits.chunk_tokens + step.attention_s * inputs / 2)
    decode_s = outputs * (step.base(batch) / batch + step.kv_s_per_token * (inputs + outputs / 2))
    shares: Floats = prompt_s + decode_s
    return shares
