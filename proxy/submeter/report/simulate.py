"""A fleet at work: calls with arrival times and lengths, on equal replicas, each call on the least loaded.

``engine`` says what happens on one replica; here are the arrivals, the routing and the count of what missed the
objective. Nothing is drawn: the same calls and servers give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from submeter.report.catalog import Server
from submeter.report.engine import NEVER, Limits, NeverFits, Replica, StepTime
from submeter.report.sessions import ClosedLoop, Waits
from submeter.report.steptime import limits, step_time

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Schedule = Sequence[tuple[float, int]]
"""(from this second on, replicas that take new calls); the first entry holds from the start, none is 0."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One replica's speed and size, where no ``Server`` of the catalog is meant."""

    step: StepTime
    limits: Limits
    host_overhead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """When a run is lost and its rest need not be computed: a group has more late, or more slow, calls than may be.

    A group is what the objective must hold in by itself, such as a day.
    """

    ttft_s: float
    tpot_s: float
    most_late: Sequence[int]
    """By group: the calls that may have their first token later than ``ttft_s``."""
    most_slow: Sequence[int]
    """By group: the calls that may have more than ``tpot_s`` per output token."""
    group: Sequence[int]
    """Of each call."""


@dataclass(frozen=True, slots=True)
class Served:
    """What each call met, in the order of the calls; NaN also for what ``gave_up`` left open."""

    arrival_s: Floats
    """As recorded, or when what it waited for was done and thought about."""
    ttft_s: Floats
    """From that arrival to its first token, with the host's overhead; ``inf``: it never fits."""
    tpot_s: Floats
    """(last token - first) / (output tokens - 1); NaN for a single token, ``inf``: it never fits."""
    done_s: Floats
    """When its last token was there, on the clock of the arrivals; ``inf``: it never fits."""
    replica: NDArray[np.int32]
    """Who served it; -1: nobody."""
    never_fits: int
    """Calls whose input and output are more than a whole key-value cache: they fail however many replicas there are."""
    gave_up: bool


def simulate(
    arrival_s: Floats,
    input_tokens: Ints,
    output_tokens: Ints,
    server: Server | Engine,
    replicas: int | Schedule,
    *,
    waits: Waits | None = None,
    give_up: GiveUp | None = None,
) -> Served:
    """Serve the calls, which are in the order of their recorded arrival.

    A call that ``waits`` arrives its think time after the earlier one is done (``done_s``), whenever it was recorded. A
    replica that a schedule takes out finishes what it has. Raises ``Unfit`` for a server that cannot be.
    """
    engine = server if isinstance(server, Engine) else engine_of(server)
    schedule = [(-NEVER, replicas)] if isinstance(replicas, int) else list(replicas)
    fleet = _Fleet(engine, arrival_s, input_tokens, output_tokens, waits, give_up)
    gave_up = fleet.serve(schedule)
    first_s, done_s = np.array(fleet.first_s), np.array(fleet.done_s)
    arrived_s = arrival_s if waits is None else np.array(fleet.arrival_s)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot_s = (done_s - first_s) / (output_tokens - 1)
    tpot_s[output_tokens <= 1] = np.nan
    never_fits = np.isinf(first_s)
    tpot_s[never_fits] = np.inf
    return Served(
        arrival_s=arrived_s,
        ttft_s=first_s - arrived_s + engine.host_overhead_s,
        tpot_s=tpot_s,
        done_s=done_s + engine.host_overhead_s,
        replica=np.array(fleet.replica, np.int32),
        never_fits=int(never_fits.sum()),
        gave_up=gave_up,
    )


def engine_of(server: Server) -> Engine:
    """Raises ``Unfit``."""
    return Engine(step_time(server), limits(server), server.host_overhead_s)


class _Fleet:
    """The calls as lists: to read single elements of arrays would take most of the time."""

    def __init__(
        self,
        engine: Engine,
        arrival_s: Floats,
        input_tokens: Ints,
        output_tokens: Ints,
        waits: Waits | None,
        give_up: GiveUp | None,
    ) -> None:
        self._engine = engine
        self.arrival_s: list[float] = arrival_s.tolist()
        self._loop = None if waits is None else ClosedLoop(self.arrival_s, waits, engine.host_overhead_s)
        self._input_tokens: list[int] = input_tokens.tolist()
        self._output_tokens: list[int] = output_tokens.tolist()
        self._misses = None if give_up is None else _Misses(give_up)
        calls = len(self.arrival_s)
        self.first_s, self.done_s, self.replica = [np.nan] * calls, [np.nan] * calls, [-1] * calls

    def serve(self, schedule: Schedule) -> bool:
        """Whether it gave up. Who arrives at the very end of an iteration takes part in the next.

        One loop over local names: of the 10 µs that a call takes, methods would be two.
        """
        most = max(replicas for _, replicas in schedule)
        fleet = [Replica(self._engine.step, self._engine.limits) for _ in range(most)]
        loads = [0] * most
        ends: list[tuple[float, int]] = []
        """A heap of (when a segment ends, whose); a segment that was cut short has an earlier entry besides."""
        first_s, done_s, misses, loop = self.first_s, self.done_s, self._misses, self._loop
        active, changes = schedule[0][1], list(reversed(schedule[1:]))
        for call, at_s in enumerate((*self.arrival_s, NEVER)) if loop is None else loop:
            while ends and ends[0][0] < at_s:
                now_s, turning = heappop(ends)
                replica = fleet[turning]
                if replica.due_s != now_s:
                    continue
                firsts, dones = replica.turn()
                if replica.due_s != NEVER:
                    heappush(ends, (replica.due_s, turning))
                for one in firsts:
                    first_s[one] = now_s
                for one in dones:
                    done_s[one] = now_s
                loads[turning] -= len(dones)
                if misses is not None and self._missed(misses, firsts, dones):
                    return True
                if loop is not None and dones:
                    call, at_s = loop.done(dones, now_s, (call, at_s))
            if at_s == NEVER:
                break
            while changes and changes[-1][0] <= at_s:
                active = changes.pop()[1]
            chosen = loads.index(min(loads if active == most else loads[:active])) if most > 1 else 0
            replica = fleet[chosen]
            due_s = replica.due_s
            try:
                replica.join(call, at_s, self._input_tokens[call], self._output_tokens[call])
            except NeverFits:
                first_s[call] = done_s[call] = NEVER
                if misses is not None and misses.first(call, NEVER):
                    return True
                if loop is not None:
                    loop.failed(call, at_s)
                continue
            self.replica[call] = chosen
            loads[chosen] += 1
            if replica.due_s != due_s:
                heappush(ends, (replica.due_s, chosen))
        return False

    def _missed(self, misses: "_Misses", firsts: Sequence[int], dones: Sequence[int]) -> bool:
        overhead_s, lost = self._engine.host_overhead_s, False
        for call in firsts:
            lost |= misses.first(call, self.first_s[call] - self.arrival_s[call] + overhead_s)
        for call in dones:
            steps = self._output_tokens[call] - 1
            if steps > 0:
                lost |= misses.done(call, (self.done_s[call] - self.first_s[call]) / steps)
        return lost


class _Misses:
    """Counts what missed the objective, by group."""

    def __init__(self, give_up: GiveUp) -> None:
        self._ttft_s, self._tpot_s, self._group = give_up.ttft_s, give_up.tpot_s, give_up.group
        self._late_left, self._slow_left = list(give_up.most_late), list(give_up.most_slow)

    def first(self, call: int, ttft_s: float) -> bool:
        """Whether this is one late call too many for its group."""
        if ttft_s <= self._ttft_s:
            return False
        self._late_left[self._group[call]] -= 1
        return self._late_left[self._group[call]] < 0

    def done(self, call: int, tpot_s: float) -> bool:
        """Whether this is one slow call too many for its group."""
        if tpot_s <= self._tpot_s:
            return False
        self._slow_left[self._group[call]] -= 1
        return self._slow_left[self._group[call]] < 0
